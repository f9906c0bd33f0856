"""A linear head as the last layers of a network."""

import numpy as np
import pytest
import torch
from exported import LINEAR
from scipy.special import softmax

from fc7.classify import Bundle, fit
from fc7.classify.arrays import unit
from fc7.classify.exports.head_layers import UnitLength, exportable, last_layers
from fc7.classify.heads.base import LinearHead
from fc7.classify.heads.table import HEADS


@pytest.mark.parametrize("preparation", ["unit", "scale", "standard"])
@pytest.mark.parametrize("counts", [(20, 20), (20, 20, 20)])
@pytest.mark.parametrize("head", LINEAR)
def test_a_linear_head_is_a_layer(table, head, counts, preparation):
    embeddings = table(counts, dim=30)
    bundle = Bundle.of(fit(embeddings, head, folds=2, epochs=2, preparation=preparation))
    rows = np.concatenate([embeddings.vectors.astype(np.float32), np.zeros((1, 30), np.float32)])
    layers = last_layers(bundle)
    assert [type(one) for one in layers] == ([UnitLength] if preparation == "unit" else []) + [torch.nn.Linear]
    assert softmax(layers(torch.from_numpy(rows)).numpy(), axis=1) == pytest.approx(
        bundle.predict_proba(rows), abs=1e-5
    )


@pytest.mark.parametrize("factor", [1e-42, 1e-30, 1.0, 1e19, 1e38])
def test_rows_of_any_length_are_brought_to_unit_length_as_fc7_does(table, factor):
    rows = table(dim=30).vectors.astype(np.float64)
    rows = np.concatenate([rows / np.abs(rows).max() * factor, np.zeros((1, 30))]).astype(np.float32)
    assert UnitLength()(torch.from_numpy(rows)).numpy() == pytest.approx(unit(rows), abs=1e-6)


def test_every_linear_head_of_the_table_can_be_exported():
    assert exportable() == [*LINEAR, "classifier"]
    assert {name for name, head in HEADS.items() if isinstance(head.build(0), LinearHead)} <= set(exportable())
