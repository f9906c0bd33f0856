"""Two steps of Pillow's resize on a device, as kernels of Triton: rows first, then columns, both rounded to 8 bits.

``pictures`` has a row of 5 numbers for each picture: pointer, bytes from one row to the next, the sides that it is
resized by (across, down), and the row of the result. ``sides`` has a row of numbers for each side: the first pixel that
is needed, how many are, the weights of a pixel, where each of ``CROP`` pixels begins, and their weights, ``MOST`` each.
"""

# ruff: noqa: ANN001, ANN201 - Triton's values have no types of Python
# mypy: disable-error-code="no-untyped-def, untyped-decorator, misc, no-untyped-call"

import triton
import triton.language as tl

# Weights have 22 bits, and 3 numbers of a side stand before its pixels. Both are written out below, because compiled
# and interpreted kernels agree on no kind of global.
BITS, HEAD = 22, 3


@triton.jit
def resize_rows(pictures, sides, middle, TALL, MOST: tl.constexpr, CROP: tl.constexpr, BLOCK: tl.constexpr):
    """Write ``(B, TALL, CROP, 3)``: the rows that are needed, as wide as they will be."""
    b, y = tl.program_id(0), tl.program_id(1)
    length = 3 + CROP * (MOST + 1)
    picture = pictures + b * 5
    across, down = sides + tl.load(picture + 2) * length, sides + tl.load(picture + 3) * length
    if y < tl.load(down + 1):
        row = tl.load(picture).to(tl.pointer_type(tl.uint8))
        row += (tl.load(down) + y).to(tl.int64) * tl.load(picture + 1)
        out = tl.arange(0, BLOCK)
        inside = out < CROP * 3
        x, channel = out // 3, out % 3
        begin = tl.load(across + 3 + x, inside, 0)
        weights = across + 3 + CROP + x * MOST
        total = tl.full((BLOCK,), 1 << 21, tl.int32)
        for tap in range(tl.load(across + 2)):
            weight = tl.load(weights + tap, inside, 0)
            level = tl.load(row + (begin + tap) * 3 + channel, inside & (weight != 0), 0)
            total += level.to(tl.int32) * weight
        levels = tl.minimum(tl.maximum(total >> 22, 0), 255).to(tl.uint8)
        tl.store(middle + (b.to(tl.int64) * TALL + y) * CROP * 3 + out, levels, inside)


@triton.jit
def resize_columns(pictures, sides, middle, result, TALL, MOST: tl.constexpr, CROP: tl.constexpr, BLOCK: tl.constexpr):
    """Write rows of ``(*, CROP, CROP, 3)``."""
    b, y = tl.program_id(0), tl.program_id(1)
    length = 3 + CROP * (MOST + 1)
    picture = pictures + b * 5
    down = sides + tl.load(picture + 3) * length
    out = tl.arange(0, BLOCK)
    inside = out < CROP * 3
    begin = tl.load(down + 3 + y) - tl.load(down)
    weights = down + 3 + CROP + y * MOST
    column = middle + (b.to(tl.int64) * TALL + begin) * CROP * 3 + out
    total = tl.full((BLOCK,), 1 << 21, tl.int32)
    for tap in range(tl.load(down + 2)):
        weight = tl.load(weights + tap)
        if weight != 0:
            total += tl.load(column + tap * CROP * 3, inside, 0).to(tl.int32) * weight
    levels = tl.minimum(tl.maximum(total >> 22, 0), 255).to(tl.uint8)
    tl.store(result + (tl.load(picture + 4) * CROP + y) * CROP * 3 + out, levels, inside)
