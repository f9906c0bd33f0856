"""Names of the heads are those of the table."""

from fc7.classify.heads.names import HEAD_LAYERS
from fc7.classify.heads.table import HEADS


def test_the_names_are_those_of_the_table_in_its_order():
    assert list(HEAD_LAYERS.items()) == [(head.name, head.layer) for head in HEADS.values()]
