"""Compare: many heads on one data set, or several embeddings of it, under one protocol."""

from collections.abc import Sequence
from pathlib import Path

from ..cache.embeddings import Embeddings
from ..errors import DataError
from ..extract.progress import Progress, silent
from .fit import Bench
from .heads import find_heads
from .runs import Run
from .verdict import ranked


def compare(
    embeddings: Embeddings | Sequence[Embeddings],
    heads: str | Sequence[str] = "all",
    *,
    folder: Path | str | None = None,
    on: str | None = None,
    folds: int | None = None,
    epochs: int | None = None,
    random_state: int = 0,
    allow_leakage: bool = False,
    progress: Progress = silent,
) -> list[Run]:
    """Fit every head on every embedding and return the records, the one to choose first.

    The order is that of the log loss inside the fitted rows, so that looking at it spends nothing of the evaluated
    split; see :func:`fc7.classify.verdict.choose`.

    Parameters
    ----------
    embeddings
        One, or several of the same images (backbones, layers).
    heads
        Names, or ``all``. The baseline is always among them.
    folder
        Where records are written as they are made; runs that are already there are not done again.
    on, folds, epochs, random_state, allow_leakage, progress
        See :func:`fc7.classify.fit`.

    Raises
    ------
    UsageError
        No such head.
    DataError, LeakageError
        See :func:`fc7.classify.splits.protocol`; or the embeddings are not of the same images.
    """
    chosen = find_heads(heads)
    tables = [embeddings] if isinstance(embeddings, Embeddings) else list(embeddings)
    benches = [
        Bench(table, on=on, folds=folds, random_state=random_state, allow_leakage=allow_leakage) for table in tables
    ]
    prints = {bench.fingerprint for bench in benches}
    if len(prints) > 1:
        sizes = {f"{table.recipe.backbone} {table.recipe.layer}": len(table) for table in tables}
        raise DataError(f"The embeddings are not of the same images: {sizes}. Extract them from the same data.")
    runs = []
    for bench in benches:
        for head in chosen:
            record = Path(folder) / f"{bench.identify(head, epochs)[:16]}.json" if folder else None
            if record and record.exists():
                runs.append(Run.load(record))
                continue
            run = bench.fit(head, epochs=epochs, progress=progress).run
            if folder:
                run.save(Path(folder))
            runs.append(run)
    return ranked(runs)
