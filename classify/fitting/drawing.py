"""Drawing the map of a comparison: beside its records, for the report."""

from pathlib import Path

import numpy as np

from ...extract.progress import Progress
from ..maps.image_map import ImageMap
from ..pages.thumbnails import FOLDER, write_thumbnails
from ..records.runs import Run
from ..records.schema import KEY_DIGITS
from ..reports.gallery import order
from .fit import Experiment

OPENED = 400  # images of a report that show the fitted ones nearest to them


def draw_map(
    folder: Path, run: Run, experiment: Experiment, images: Path | str | None, method: str, progress: Progress
) -> None:
    """Write the map of the images that a run was fitted and evaluated on, unless it is there.

    Where there are pictures, those of its first 400 images of a report, which are opened most, and of the fitted ones
    nearest to them are written, too.
    """
    plan, rows = experiment.protocol, experiment.embeddings
    fitted = np.unique(np.concatenate([fitted for fitted, _ in plan.pairs]))
    used = np.unique(np.concatenate([fitted, plan.rows]))
    asked = plan.rows[order(run)[:OPENED]]
    opened = {
        key.tobytes().hex()[:KEY_DIGITS]: path
        for key, path in zip(rows.sha256[asked], rows.paths[asked].tolist(), strict=True)
    }
    names = rows.recipe.id, experiment.evaluated.fingerprint
    chart = ImageMap.load(folder, *names)
    if chart is None or chart.method != method or opened.keys() != chart.near.keys():
        rows_of = np.searchsorted(used, asked), np.searchsorted(used, fitted)
        chart = ImageMap.of(rows[used], *rows_of, method=method, progress=progress)
        chart.save(folder, *names)
    if images is not None:
        near = {key: path for key, path, *_ in chart.neighbours}
        write_thumbnails(opened | near, images, folder / FOLDER, progress=progress)
