"""Screen: many backbones, layers and sizes on samples that grow, the few that are left on all images."""

import copy
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...cache.arguments import checked
from ...cache.embeddings import Embeddings
from ...cache.tables import counted
from ...errors import CacheError, DataError, FC7Error, Interrupted, UsageError
from ...extract.backbones.backbone import Backbone
from ...extract.extraction import fill, read
from ...extract.manifest.columns import Images
from ...extract.manifest.hashing import Hashed
from ...extract.manifest.manifest import Manifest, read_manifest
from ...extract.manifest.paths import LISTS_ALL, Reject, described
from ...extract.progress import Progress, silent
from ..data.checks import labelled_images
from ..data.joint import in_common
from ..data.splits import SET_ASIDE
from ..fitting.compare import Comparison, compare
from ..records.screened import FOLDER, Candidate, Screened, load_memory, save_memory
from ..settings import FitSettings
from .judgement import Stage, judge
from .memory import watch_memory
from .sample import Sample

logger = logging.getLogger(__name__)

SURVIVORS = 2  # that are compared on all images
HEAD = "logreg"  # of the rounds


@dataclass(frozen=True)
class Screening:
    """What :func:`screen` found.

    Attributes
    ----------
    answer
        Sentences; the first says which candidate to take.
    candidates
        What each is worth and costs.
    runs
        Those of the candidates that were compared on all images.
    screened
        What was done in the rounds before.
    """

    answer: list[str]
    candidates: list[Candidate]
    runs: Comparison
    screened: Screened

    def __repr__(self) -> str:
        return f"Screening({counted(len(self.candidates), 'candidate')}: {self.answer[0]})"


@checked
def screen(
    data: Any,
    backbones: Sequence[Backbone],
    heads: str | Sequence[Any] = "all",
    *,
    folder: Path | str | None = None,
    cache: Path | str | None = None,
    sample: int | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    **settings: Any,
) -> Screening:
    """Say which of many backbones, layers and image sizes to take for these images.

    Successive halving: all are extracted on a sample, and the better half goes on to one of twice as many images, until
    two are left; in the last round these are the best, and the next one of those that are faster and not shown to be
    worse. They are extracted and compared on all images, as by :func:`fc7.classify.compare`. What a pass of a network
    gives, several layers, goes on together. The images that are evaluated in the end are in no sample: with a split
    samples are of train; without one the last sample is set aside, and every fold is fitted on it, too.

    Parameters
    ----------
    data
        As for :func:`fc7.extract.extract`.
    backbones
        From :func:`fc7.extract.load_backbone`, each tapped at one layer or several. Networks are loaded in turn.
    heads
        For those that are left, as in :func:`fc7.classify.compare`. The rounds fit ``logreg``.
    folder
        Where records go: those of the last comparison, and below ``screening`` those of the rounds. Finished runs are
        not done again.
    cache
        As for :func:`fc7.extract.extract`. What was extracted for a sample is not extracted again.
    sample
        Images of the first round; default an eighth of those that there are, 60 to 2,000.
    workers, progress
        As for :func:`fc7.extract.extract`.
    settings
        ``on``, ``cross_validate``, ``folds``, ``class_weight``, ... of :func:`fc7.classify.compare`.

    Raises
    ------
    UsageError
        No backbone, one twice, or no such setting.
    DataError, LeakageError
        As :func:`fc7.classify.compare`.
    Interrupted
        Ctrl-C; what was computed is kept.
    """
    try:
        fitting = FitSettings(**settings)
    except TypeError as error:
        raise UsageError(f"screen: {str(error).rpartition('() ')[2]}.") from error
    if sample is not None and sample < 1:
        raise UsageError(f"sample {sample}: must be 1 or more.")
    _require_different(backbones)
    images, _ = labelled_images(data if isinstance(data, Manifest) else read_manifest(data))
    hashed = Hashed.of(images, cache, progress=progress)
    drawn = Sample.of(hashed.rows.in_key_order(), fitting)
    study = _Study(hashed, drawn, fitting, Path(folder) if folder else None, workers, progress)
    stages, alive = study.rounds(backbones, sample)
    tables = study.tables(alive, study.evaluated(stages[-1].images if stages else 0))
    for line in described(list(study.rejects), LISTS_ALL):
        logger.warning("rejected %s", line)
    options = {name: value for name, value in settings.items() if value is not None}
    runs = compare(tables, heads, folder=folder, images=study.pictures, progress=progress, **options)
    screened = judge([*stages, Stage.of(tables, runs, final=True)], backbones, study.memory, study.broken)
    if folder:
        screened.save(Path(folder))
    return Screening(screened.answer, screened.candidates, runs, screened)


def _require_different(backbones: Sequence[Backbone]) -> None:
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes]
    if not recipes:
        raise UsageError("There is no backbone to screen: the list is empty.")
    twice = [recipe for place, recipe in enumerate(recipes) if recipe in recipes[:place]]
    if twice:
        raise UsageError(f"{twice[0].backbone} {twice[0].layer} is given twice with the same weights and size.")


class _Study:
    """What all rounds share: the images, how heads are fitted, where records go, and what was measured.

    Attributes
    ----------
    pictures
        The folder that paths are relative to, where there is a folder for records.
    rejects
        Of all that was extracted.
    broken
        Why there are no embeddings of a backbone.
    memory
        Peak in bytes by recipe id, of what was extracted now or in a run of which the folder has records.
    """

    def __init__(
        self,
        hashed: Hashed,
        sample: Sample,
        settings: FitSettings,
        folder: Path | None,
        workers: int | None,
        progress: Progress,
    ) -> None:
        self.hashed, self.sample, self.settings, self.folder = hashed, sample, settings, folder
        self.workers, self.progress = workers, progress
        self.memory = load_memory(folder) if folder else {}
        self.rejects: dict[Reject, None] = {}
        self.broken: dict[Backbone, str] = {}
        self.pictures: Any = hashed.manifest.root if folder else None

    def rounds(self, backbones: Sequence[Backbone], first: int | None) -> tuple[list[Stage], list[Backbone]]:
        """Return the rounds, and the backbones that are left for all images."""
        stages: list[Stage] = []
        alive = list(backbones)
        sizes = [size for size in self.sample.sizes(first) if self.sample.can_be_fitted(size, self.settings)]
        for size in sizes:
            if len(alive) <= SURVIVORS:
                break
            stages.append(self._round(alive, size))
            alive = [backbone for backbone in alive if backbone not in self.broken]
            if len(alive) <= SURVIVORS:
                break
            half = math.ceil(len(alive) / 2)
            ranked = stages[-1].ranked(alive)
            last = half <= SURVIVORS or size == sizes[-1]
            alive = stages[-1].leaders(ranked, SURVIVORS) if last else ranked[:half]
        if len(backbones) > SURVIVORS and not sizes:
            logger.warning("fc7: too few images for a sample beside those that are evaluated: no candidate is left out")
        return stages, alive

    def _round(self, backbones: Sequence[Backbone], size: int) -> Stage:
        """Extract a sample with some backbones, and cross-validate a quick head on each layer."""
        images = self.hashed.manifest.images
        paths = self._sampled(size)
        part = Images(image._replace(split="") for image in images if image.path in paths)
        hashed = Hashed.of(replace(self.hashed.manifest, images=part), self.hashed.directory, progress=self.progress)
        tables, settings, weight = self.tables(backbones, hashed), self.settings, self.settings.class_weight
        runs = compare(
            tables,
            [HEAD],
            folder=self.folder / FOLDER / str(size) if self.folder else None,
            learning_curve=False,
            map_method=None,
            folds=settings.folds,
            random_state=settings.random_state,
            class_weight=dict(weight) if isinstance(weight, Mapping) else weight,
            preparation=settings.preparation,
            average_views=settings.average_views,
            progress=self.progress,
        )
        return Stage.of(tables, runs, final=False)

    def evaluated(self, size: int) -> Hashed:
        """Return all images; without a split, those of the last sample are set aside."""
        if not (size and self.sample.folds):
            return self.hashed
        paths, manifest = self._sampled(size), self.hashed.manifest
        images = Images(image._replace(split=SET_ASIDE if image.path in paths else "") for image in manifest.images)
        return replace(self.hashed, manifest=replace(manifest, images=images))

    def tables(self, backbones: Sequence[Backbone], hashed: Hashed) -> list[Embeddings]:
        """Return a table for each layer of each backbone, computing what the cache lacks; of what fails there is none.

        A candidate that cannot be extracted does not stop the others, unless it is the last one.
        """
        tables: list[Embeddings] = []
        for place, backbone in enumerate(backbones):
            once = copy.copy(backbone)  # without its network, which is loaded here and not kept
            peak = watch_memory(once)
            try:
                done = fill(hashed, [once], workers=self.workers, progress=self.progress)
                if empty := [extraction for extraction in done if not extraction.ok]:
                    raise DataError(f"no image could be embedded: {empty[0].rejects[0].reason}")
            except (Interrupted, CacheError):
                raise
            except FC7Error as error:
                if not tables and place == len(backbones) - 1:
                    raise
                self.broken[backbone] = str(error)
                continue
            memory = peak() if any(extraction.computed for extraction in done) else None
            for recipe in backbone.recipes:
                self.memory[recipe.id] = max(memory or 0, self.memory.get(recipe.id) or 0) or None
                table = read(hashed, recipe, weights_source=backbone.weights_source, views=backbone.views)
                tables.append(table.in_key_order())
            if memory and self.folder:
                save_memory(self.folder, self.memory)
            self.rejects |= dict.fromkeys(done[0].rejects)
        return in_common(tables)

    def _sampled(self, size: int) -> set[str]:
        return set(self.sample.images.paths[self.sample.rows(size)].tolist())
