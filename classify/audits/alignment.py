"""Alignment: whether two pictures show the same pixels, one perhaps cut out of the other, mirrored, grey or brighter.

Pictures are compared in two steps. At 20 x 20 pixels, one is laid on the other at every offset, four scales, and
mirrored: what correlates below :data:`ROUGH` at its best is dropped. The best place is then refined at 32 x 32 pixels,
and what remains after blurring is taken away is correlated: light and shade are alike in many photographs, details are
not. Correlation does not see brightness and contrast, and grey pictures have no colour to see.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

SIDE = 96  # px of a picture, which is squeezed into a square; its ratio of sides is kept beside it
ROUGH = 0.65  # least correlation at 20 x 20 pixels
SCALES = (1.0, 0.9, 0.8, 0.7)  # of each side that is left of the larger picture
PAIRS = 256  # compared at once
FLAT = 2.0  # grey levels: a picture that varies less has no details
_LIKE = 4.0  # grey levels between the means of two flat pictures that are the same

_SMALL, _LARGE, _BLUR = 20, 32, 7
_STEPS = (0.03, 0.015, 0.008, 0.004)  # of offsets and sizes when a place is refined

Pictures = npt.NDArray[np.uint8]
Ratios = npt.NDArray[np.float32]


def squeezed(image: "Image.Image") -> npt.NDArray[np.uint8]:
    """Return a picture as :func:`same_details` takes it, ``(SIDE, SIDE)`` uint8."""
    from PIL import Image

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def outlines(pictures: Pictures) -> npt.NDArray[np.float32]:
    """Return a vector for each picture ``(n, 128)``, nearly the same for a copy that is mirrored, grey or brighter."""
    step = SIDE // 16
    small = pictures.reshape(len(pictures), 16, step, 16, step).mean((2, 4), dtype=np.float32)
    small -= small.mean((1, 2), keepdims=True)
    return np.asarray((small + small[:, :, ::-1])[:, :, :8].reshape(len(pictures), 128))


def same_details(
    first: Pictures, second: Pictures, first_ratio: Ratios, second_ratio: Ratios
) -> npt.NDArray[np.float32]:
    """Return the correlation of details of pairs of pictures at their best alignment, ``(m,)``; -1 of unlike ones.

    Parameters
    ----------
    first, second
        ``(m, SIDE, SIDE)`` uint8, grey, squeezed into squares.
    first_ratio, second_ratio
        Width divided by height of the pictures before, ``(m,)`` float32.
    """
    import torch

    found = np.full(len(first), -1, np.float32)
    with torch.inference_mode():
        for start in range(0, len(first), PAIRS):
            part = slice(start, start + PAIRS)
            pair = _Pairs(*(torch.tensor(array[part]) for array in (first, second, first_ratio, second_ratio)))
            found[part] = pair.details()
    return found


class _Pairs:
    """Pairs of pictures. A window is the part of one that the other is: offset and size, in shares of its sides."""

    def __init__(self, first: "Tensor", second: "Tensor", first_ratio: "Tensor", second_ratio: "Tensor") -> None:
        self._pictures = first.float(), second.float()
        self._ratios = first_ratio, second_ratio

    def details(self) -> npt.NDArray[np.float32]:
        import torch

        found = torch.full((len(self._ratios[0]),), -1.0)
        rough, window, turned, mirrored = self._place()
        likely = torch.nonzero(rough >= ROUGH)[:, 0]
        if len(likely):
            chosen = turned[likely, None, None]
            one, other = (picture[likely] for picture in self._pictures)
            large, small = torch.where(chosen, other, one), torch.where(chosen, one, other)
            found[likely] = _refined(large, small, window[likely], mirrored[likely])
        deviation, mean = (
            [getattr(picture.flatten(1), name)(dim=1) for picture in self._pictures] for name in ("std", "mean")
        )
        flat = (deviation[0] < FLAT) & (deviation[1] < FLAT)
        found[flat] = torch.where((mean[0] - mean[1]).abs() < _LIKE, 1.0, -1.0)[flat]
        return np.asarray(found.numpy())

    def _place(self) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        """Return the best correlation, its window ``(m, 4)``, whether the first is inside the second, and mirrored."""
        import torch

        small = [_shrunk(picture, _SMALL) for picture in self._pictures]
        best = torch.full((len(small[0]),), -1.0)
        window = torch.zeros(len(best), 4)
        flags = torch.zeros(2, len(best), dtype=torch.bool)
        for turned in (False, True):
            large, inner = small[::-1] if turned else small
            outer_ratio, inner_ratio = self._ratios[::-1] if turned else self._ratios
            shape = torch.stack([inner_ratio / outer_ratio, outer_ratio / inner_ratio], 1).clamp_max(1)
            for scale in SCALES:
                for mirrored in (False, True):
                    size = shape * scale
                    cosine, offset = _slide(large, *_laid(inner.flip(2) if mirrored else inner, size))
                    better = cosine > best
                    best = torch.where(better, cosine, best)
                    window[better] = torch.cat([offset, size], 1)[better]
                    flags[:, better] = torch.tensor([[turned], [mirrored]])
        return best, window, flags[0], flags[1]


def _shrunk(pictures: "Tensor", side: int) -> "Tensor":
    from torch.nn.functional import interpolate

    return interpolate(pictures[:, None], size=(side, side), mode="area")[:, 0]


def _sampled(pictures: "Tensor", x: "Tensor", y: "Tensor") -> "Tensor":
    """Return pixels of pictures ``(m, h, w)`` at columns x ``(m, n)`` and rows y ``(m, n)``, both in shares."""
    import torch
    from torch.nn.functional import grid_sample

    m, n = x.shape
    grid = torch.stack([x[:, None, :].expand(m, n, n), y[:, :, None].expand(m, n, n)], -1)
    return grid_sample(pictures[:, None], 2 * grid - 1, align_corners=False, padding_mode="border")[:, 0]


def _laid(pictures: "Tensor", size: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return pictures squeezed into the upper left of a square, and where they are in it."""
    import torch

    n = pictures.shape[-1]
    share = (torch.arange(n) + 0.5)[None] / n
    x, y = share / size[:, :1], share / size[:, 1:]
    return _sampled(pictures, x, y), ((y <= 1)[:, :, None] & (x <= 1)[:, None, :]).float()


def _slide(large: "Tensor", inner: "Tensor", mask: "Tensor") -> "tuple[Tensor, Tensor]":
    """Return the best correlation of a picture with part of a larger one over all offsets, and the offset in shares."""
    import torch
    from torch.fft import irfft2, rfft2

    n, area = large.shape[-1], mask.sum((1, 2), keepdim=True)
    large = large - large.mean((1, 2), keepdim=True)
    inner = (inner - (inner * mask).sum((1, 2), keepdim=True) / area) * mask
    spectrum, places = rfft2(large), rfft2(mask).conj()
    products = irfft2(spectrum * rfft2(inner).conj(), s=(n, n))
    sums, squares = (irfft2(one * places, s=(n, n)) for one in (spectrum, rfft2(large.square())))
    spread = (squares - sums.square() / area).clamp_min(1e-3).sqrt()
    cosine = products / (spread * inner.square().sum((1, 2), keepdim=True).sqrt() + 1e-3)
    room = [torch.arange(n)[None] <= n - mask.amax(axis).sum(1, keepdim=True) for axis in (1, 2)]
    cosine = cosine.where(room[0][:, None, :] & room[1][:, :, None], torch.tensor(-1.0))
    best, place = cosine.flatten(1).max(1)
    return best, torch.stack([place % n, place // n], 1) / n


def _refined(large: "Tensor", small: "Tensor", window: "Tensor", mirrored: "Tensor") -> "Tensor":
    """Return the correlation of details after the window was moved and stretched for the best correlation."""
    import torch

    small, large = _shrunk(small, _LARGE), _blurred(large, 3)
    share = ((torch.arange(_LARGE) + 0.5) / _LARGE).expand(len(small), _LARGE)
    across = torch.where(mirrored[:, None], 1 - share, share) - 0.5
    centre, size = window[:, :2] + window[:, 2:] / 2, window[:, 2:]

    def inside(centre: "Tensor", size: "Tensor") -> "Tensor":
        x, y = (c[:, None] + s[:, None] * u for c, s, u in zip(centre.T, size.T, (across, share - 0.5), strict=True))
        return _sampled(large, x, y)

    best = _correlation(inside(centre, size), small)
    for step in (sign * step for step in _STEPS for _ in range(2) for sign in (-1, 1)):
        for axis in range(4):
            change = torch.zeros(4)
            change[axis] = step
            moved, stretched = centre + change[:2], size * (1 + change[2:])
            correlation = _correlation(inside(moved, stretched), small)
            better = correlation > best
            best = torch.where(better, correlation, best)
            centre, size = moved.where(better[:, None], centre), stretched.where(better[:, None], size)
    part = inside(centre, size)
    return _correlation(part - _blurred(part, _BLUR), small - _blurred(small, _BLUR))


def _blurred(pictures: "Tensor", side: int) -> "Tensor":
    from torch.nn.functional import avg_pool2d

    return avg_pool2d(pictures[:, None], side, 1, side // 2, count_include_pad=False)[:, 0]


def _correlation(one: "Tensor", other: "Tensor") -> "Tensor":
    a, b = (picture - picture.mean((1, 2), keepdim=True) for picture in (one, other))
    lengths = (a.square().sum((1, 2)) * b.square().sum((1, 2))).sqrt()
    products: Tensor = (a * b).sum((1, 2)) / (lengths + 1e-3)
    return products
