"""csv: path, label, split, group, sha256, e0, e1, ...: the shortest digits that are read back as the same number."""

from pathlib import Path

import numpy as np

from ...cache.vector_table import TEXTS, VectorTable
from ..text import csv_row


def write(table: VectorTable, path: Path) -> None:
    """Write a line per image: what is known of it, and its vector."""
    _write(table, path, [f"e{column}" for column in range(table.dim)])


def write_texts(table: VectorTable, path: Path) -> None:
    """Write a line per image without its vector."""
    _write(table, path, [])


def _write(table: VectorTable, path: Path, numbers: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{csv_row([*TEXTS, 'sha256', *numbers])}\n")
        for span in table.spans():
            texts = zip(*(table.texts(name, span) for name in TEXTS), table.digests(span), strict=True)
            lines = [csv_row(row) for row in texts]
            if numbers:
                # float16 is widened: its own shortest digits are other numbers for those who read them as float32.
                rows = np.asarray(table.vectors[span], np.float32)
                # One row at a time: a number takes 128 bytes as text.
                lines = [f"{line},{','.join(row.astype(str))}" for line, row in zip(lines, rows, strict=True)]
            file.writelines(f"{line}\n" for line in lines)
