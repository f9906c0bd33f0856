"""Each family of timm: vectors of all layers that are listed, or a refusal in one line; never another error.

``make test`` takes one small family, ``make zoo`` all of them; those whose smallest network is huge take minutes.
"""

import os
import time

import pytest
import torch

from fc7.errors import FC7Error
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.network import Tapped

timm = pytest.importorskip("timm", reason="timm is not installed (the extra fc7[timm])")

FULL = os.environ.get("FC7_ZOO") == "full"
SECONDS = 60  # of computing, until layers are known and the network is cut

# Parts of names, of small networks first.
SMALL = ["test_", "nano", "pico", "atto", "femto", "xxs", "xx_small", "_xs", "tiny", "x_small", "mini", "_s0", "_b0"]
SMALL += ["_t0", "_m0", "small", "_18", "_t", "_s", "_50", "_26", "base"]


def families():
    """Return the name of a small network of each of timm's modules."""
    chosen = []
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        place = {name: next((n for n, part in enumerate(SMALL) if part in name), len(SMALL)) for name in names}
        chosen.extend(sorted(names, key=lambda name: (place[name], len(name)))[:1])
    return chosen


@pytest.mark.parametrize("name", families() if FULL else ["test_convnext"])
def test_a_family_has_vectors_or_is_refused_in_one_line(name):
    started = time.process_time()
    try:
        net = architecture(f"timm:{name}")
        taps = dict(net.layers)
        for layer in ("block:-1", "block:0:avg"):
            try:
                taps[layer] = net.layer(layer)
            except FC7Error as error:
                assert "\n" not in str(error)
        network = net.construct(0)
        tapped = Tapped(net.cut(taps.values(), network), list(taps.values()))
    except FC7Error as error:
        assert "\n" not in str(error)
        return
    taken = time.process_time() - started
    images = torch.randn(1 if net.gmacs > 100 else 2, 3, net.crop, net.crop, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        vectors = dict(zip(taps, tapped(images), strict=True))
        logits = network(images)
    assert {name: vector.shape[1] for name, vector in vectors.items()} == {name: tap.dim for name, tap in taps.items()}
    torch.testing.assert_close(vectors["logits"], logits.flatten(1), rtol=1e-4, atol=1e-4)
    assert taken < SECONDS
