"""Rejects as a person is told of them."""

from fc7.extract.manifest.paths import MOST_DESCRIBED, Reject, described


def test_few_rejects_are_said_one_by_one():
    assert described([Reject("a\nb.txt", "no image")], "elsewhere") == [r"a\nb.txt: no image"]
    assert described([], "elsewhere") == []


def test_of_many_rejects_the_first_are_said_and_the_others_counted_by_reason():
    rejects = [Reject(f"{number}.txt", "no image" if number % 3 else "empty") for number in range(60_000)]
    lines = described(rejects, "--json lists all")
    assert len(lines) == MOST_DESCRIBED + 1
    assert lines[0] == "0.txt: empty"
    assert lines[-1] == "59,990 more: 39,994 no image; 19,996 empty (--json lists all)"


def test_reasons_that_all_differ_are_no_longer_than_a_few():
    line = described([Reject(f"{number}", f"{number} pixels") for number in range(500)], "--json lists all")[-1]
    assert line == "490 more: 1 10 pixels; 1 11 pixels; 1 12 pixels and 487 more (--json lists all)"
