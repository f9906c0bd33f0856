"""csv: path, label, split, group, sha256, e0, e1, ...: the shortest digits that are read back as the same number."""

from pathlib import Path

import numpy as np

from ...cache.embeddings import COLUMNS, VectorTable
from ..text import csv_row


def write(rows: VectorTable, path: Path) -> None:
    """Write a line per image: what is known of it, and its vector."""
    _write(rows, path, [f"e{column}" for column in range(rows.recipe.dim)])


def write_texts(rows: VectorTable, path: Path) -> None:
    """Write a line per image without its vector."""
    _write(rows, path, [])


def _write(rows: VectorTable, path: Path, numbers: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{csv_row([*COLUMNS, 'sha256', *numbers])}\n")
        for span in rows.spans():
            texts = zip(*(rows.texts(name, span) for name in COLUMNS), rows.digests(span), strict=True)
            lines = [csv_row(row) for row in texts]
            if numbers:
                # float16 is widened: its own shortest digits are other numbers for those who read them as float32.
                vectors = np.asarray(rows.vectors[span], np.float32)
                # One row at a time: a number takes 128 bytes as text.
                lines = [f"{line},{','.join(row.astype(str))}" for line, row in zip(lines, vectors, strict=True)]
            file.writelines(f"{line}\n" for line in lines)
