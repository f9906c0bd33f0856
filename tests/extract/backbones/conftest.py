"""Networks of torchvision and timm that are quick to make."""

import functools
import importlib.util

import pytest


@pytest.fixture
def narrow(monkeypatch):
    """Make transformers with few narrow blocks, for tests of what their number and width do not change."""
    from torchvision.models import MaxVit, VisionTransformer

    from fc7.extract.backbones import architectures

    networks = [
        (VisionTransformer, {"num_layers": 2, "hidden_dim": 96, "mlp_dim": 192}),
        (MaxVit, {"stem_channels": 32, "block_channels": [32, 64], "block_layers": [1, 1]}),
    ]
    if importlib.util.find_spec("timm"):
        from timm.models import SwinTransformer

        networks.append((SwinTransformer, {"embed_dim": 24, "depths": (2, 2), "num_heads": (3, 6)}))
    for network, sizes in networks:
        monkeypatch.setattr(network, "__init__", functools.partialmethod(made_narrow, network.__init__, sizes))
    for name in ("_opened", "_untabled"):  # what is known of the usual ones
        monkeypatch.setattr(architectures, name, functools.cache(getattr(architectures, name).__wrapped__))


def made_narrow(network, initialise, sizes, **options):
    initialise(network, **options | sizes)
