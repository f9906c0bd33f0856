import pytest
from faults.document import BEGIN, END, document

RUN = {"full": True, "figures": [{"fault": "Rot", "done": "9 flips", "found": "9 found | 0 silent"}]}


def test_the_table_replaces_the_one_before():
    text = document(f"# Title\n\n{BEGIN}old\n{END}\nThe rest.\n", RUN)
    assert text == document(text, RUN)
    assert "old" not in text
    assert "| Rot | 9 flips | 9 found / 0 silent |" in text
    assert text.startswith("# Title")
    assert text.endswith("The rest.\n")


def test_a_small_run_or_another_document_is_refused():
    with pytest.raises(ValueError, match="small run"):
        document(f"{BEGIN}{END}", RUN | {"full": False})
    with pytest.raises(ValueError, match="lacks"):
        document("# Title\n", RUN)
