"""TIFF files of any tags, byte by byte."""

import struct

NUMBERS = dict(
    bits=258, compression=259, photometric=262, samples=277, smallest=280, largest_used=281, planes=284,
    colour_map=320, extra=338, sample_format=339, least=340, largest=341, subsampling=530,
)  # fmt: skip
KINDS = {"H": 3, "I": 4, "d": 12, "i": 9}


def tiff(size, *strips, order="<", bits=8, photometric=1, compression=1, **tags):
    """Return a TIFF of one strip, or one strip a plane; a tag is a number or a list of numbers."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    places = []
    for strip in strips:
        places.append(len(out))
        out += strip + bytes(len(strip) % 2)
    named = {"bits": bits, "photometric": photometric, "compression": compression, "samples": 1} | tags
    values = {NUMBERS[name]: value if isinstance(value, list) else [value] for name, value in named.items()}
    values |= {256: [size[0]], 257: [size[1]], 278: [size[1]], 273: places, 279: [len(strip) for strip in strips]}
    entries = b""
    for tag, numbers in sorted(values.items()):
        kind = "i" if min(numbers) < 0 else "H" if max(numbers) < 2**16 else "I"
        data = struct.pack(order + kind * len(numbers), *numbers)
        if len(data) > 4:
            place, data = struct.pack(f"{order}I", len(out)), data + bytes(len(data) % 2)
            out += data
        else:
            place = data.ljust(4, b"\0")
        entries += struct.pack(f"{order}HHI", tag, KINDS[kind], len(numbers)) + place
    struct.pack_into(f"{order}I", out, 4, len(out))
    return bytes(out) + struct.pack(f"{order}H", len(values)) + entries + bytes(4)
