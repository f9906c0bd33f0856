"""An audit whose names try to be more than text."""

from dataclasses import replace

import numpy as np
import pytest

from fc7.classify import audit

HOSTILE = ("<script>alert(1)</script>", "=1+1", "a\nb\x1b[31m", "\u202egpj.exe")


@pytest.fixture
def hostile(table):
    keys = list(range(40))
    keys[1], keys[22] = keys[0], keys[3]
    embeddings = table((20, 20), val=5, keys=keys, spread=3.0)
    names = np.array([f"{HOSTILE[row % 4]}{row}" for row in range(40)])
    return audit(replace(embeddings, paths=names, name=HOSTILE[0]))
