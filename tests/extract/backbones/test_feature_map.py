"""The last feature map, and in which order its axes are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fc7.cache.recipe import Transform
from fc7.errors import UsageError
from fc7.extract import Backbone

SMALL = Transform(resize=36, crop=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


class Parts(nn.Module):
    """The maps of a convolution, of 6 channels and 16 x 16 places, and what makes vectors of them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.out = nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.Linear(6, 5)
        self.mix, self.norm = nn.Linear(6, 6), nn.LayerNorm(6)
        self.square = nn.Conv2d(3, 16, 3, stride=2, padding=1)  # as many channels as rows and columns
        self.heads = nn.Linear(16, 5)

    def maps(self, images):
        """Return what the layer gap has to pool, channels first."""
        return self.conv(images)


class Pooled(Parts):
    def forward(self, images):
        return self.out(functional.adaptive_avg_pool2d(functional.gelu(self.conv(images)), 1).flatten(1))

    def maps(self, images):
        return functional.gelu(self.conv(images))


class Flattened(Parts):
    def forward(self, images):
        return self.out(self.conv(images).flatten(2).mean(2))


class Fitted(Parts):
    """As VGG does it, whose linear layers read maps of one size."""

    def __init__(self):
        super().__init__()
        self.whole = nn.Linear(36, 5)

    def forward(self, images):
        return self.whole(functional.adaptive_avg_pool2d(self.conv(images), (3, 2)).flatten(1))


class Multiplied(Parts):
    """With a gate of one number for each channel, and one of one for each place."""

    def forward(self, images):
        return self.out(self._gated(images).mean((2, 3)))

    def _gated(self, images):
        maps = self.conv(images)
        return torch.sigmoid(maps.mean((2, 3), keepdim=True)) * maps * torch.sigmoid(maps.sum(1, keepdim=True))

    maps = _gated


class ChannelsLast(Parts):
    def forward(self, images):
        maps = self.norm(self.mix(self.conv(images).permute(0, 2, 3, 1)))
        return self.out(maps.mean((1, 2)))

    def maps(self, images):
        return self.norm(self.mix(self.conv(images).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class LastByItsReader(Parts):
    """Where an unknown order is certain because of what reads it."""

    def forward(self, images):
        return self.out(self._last(images).amax(dim=(-3, -2)))

    def _last(self, images):
        return self.conv(images).flatten(2).transpose(1, 2).reshape(images.shape[0], 16, 16, 6)

    def maps(self, images):
        return self._last(images).permute(0, 3, 1, 2)


class Square(Parts):
    """Sizes do not tell channels from rows and columns."""

    def forward(self, images):
        return self.heads(self._last(images).mean((1, 2)))

    def _last(self, images):
        return torch.relu(self.square(images).movedim(1, -1))

    def maps(self, images):
        return self._last(images).movedim(-1, 1)


class SideBySide(Parts):
    def forward(self, images):
        return self._both(images).mean((2, 3))

    def _both(self, images):
        return torch.cat([self.conv(images), torch.relu(self.conv(images))], 1)

    maps = _both


KINDS = [Pooled, Flattened, Fitted, Multiplied, ChannelsLast, LastByItsReader, Square, SideBySide]


def normalised():
    images = torch.from_numpy(PIXELS) / 255
    return ((images - torch.tensor(SMALL.mean)) / torch.tensor(SMALL.std)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_pooled_layers_are_over_height_and_width_wherever_they_are(kind):
    module = kind().eval()
    names = ["gap", "gmp", "gap+gmp"]
    backbone = Backbone(module, SMALL, names, device="cpu", batch_size=2)
    with torch.inference_mode():
        maps = module.maps(normalised())
    mean, largest = maps.mean((2, 3)), maps.amax((2, 3))
    both = torch.cat([functional.normalize(mean), functional.normalize(largest)], 1)
    for recipe, found, expected in zip(backbone.recipes, backbone.forward(PIXELS), (mean, largest, both), strict=True):
        assert recipe.dim == expected.shape[1] == found.shape[1]
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-5)


class Tokens(Parts):
    def forward(self, images):
        return self.norm(self.conv(images).flatten(2).transpose(1, 2))[:, 0]


class Sequence(Parts):
    def forward(self, images):
        return self.out(self.mix(self.conv(images).flatten(2).transpose(1, 2)).mean(1))


class Scrambled(Parts):
    """Nothing says what the axes are."""

    def forward(self, images):
        return self.conv(images).reshape(images.shape[0], 16, 6, 16).flatten(1)


class Attention(Parts):
    """Products over the last axis of a map of four axes that stand for something else."""

    def forward(self, images):
        maps = self.conv(images)
        return (maps @ maps.transpose(2, 3)).flatten(1)


class Contradicted(Parts):
    """Made with channels first, read as if they were last."""

    def forward(self, images):
        return self.conv(images).mean((1, 2))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Tokens, r"tokens of \(256, 6\), not a map"),
        (Sequence, r"tokens of \(256, 6\), not a map"),
        (Scrambled, r"a tensor of \(16, 6, 16\) with axes in unknown order"),
        (Attention, r"a tensor of \(6, 16, 16\) with axes in unknown order"),
        (Contradicted, r"a tensor of \(6, 16, 16\) with axes in unknown order"),
    ],
)
def test_where_there_is_no_certain_map_pooled_layers_are_refused_in_one_line(kind, message):
    line = rf"{kind.__name__} has no layer 'gap': .*{message}.* Layers: output, or a node: "
    with pytest.raises(UsageError, match=line) as caught:
        Backbone(kind().eval(), SMALL, "gap", device="cpu", batch_size=2)
    assert "\n" not in str(caught.value)
