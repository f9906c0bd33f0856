"""Review: a person decides on doubted labels, and every decision updates at once which other labels are doubted."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np

from ...cache.embeddings import Embeddings
from ...errors import DataError, UsageError
from ...extract.manifest.manifest import require_distinct
from ...extract.progress import Progress, silent
from ...extract.text import few, plain
from ..arrays import Positions
from ..data.checks import require_finite
from ..data.splits import together
from ..solvers.lapack import threads
from ..solvers.nearest import nearest
from .changes import Agreement, Change, Step, Versions, latest
from .diverse import Coverage
from .judge import Judge, leads
from .labels import Decision, Labels, numbered
from .leave_one_out import NONE
from .subjects import UNDECIDED, Subject, agreed, reviewed_images

logger = logging.getLogger(__name__)


class Review:
    """A data set under review. Any number of threads may use it.

    Parameters
    ----------
    embeddings
        Of the manifest of `labels`, including bad images.
    labels
        The csv; the review begins with the decisions in it.

    Attributes
    ----------
    judged
        The present judgement of all images.
    vectors
        The embeddings of the images.
    curve
        The agreement at the start, and after each decision since that was not undone.

    Raises
    ------
    DataError
        Embeddings that are not finite, or a csv that is not of this data set.
    """

    def __init__(self, embeddings: Embeddings, labels: Labels, *, progress: Progress = silent) -> None:
        require_finite(embeddings, np.arange(len(embeddings)))
        self.name, self.labels = embeddings.name, labels
        self._lock = threading.RLock()
        self._images = reviewed_images(embeddings, labels.manifest)
        self._history, self._aside = self._by_image(labels.read())
        self.curve: list[Agreement] = []
        if labels.news:
            logger.warning("fc7: %s", plain(labels.news))
        if labels.outdated and (self._history or self._aside):
            self._write(self._history)
        rows = np.array([image.row for image in self._images])
        self.vectors = np.asarray(embeddings.vectors[rows])
        apart = together(embeddings, np.arange(len(embeddings)))[rows]
        with threads(len(rows)):
            self.judge = Judge(self._images, self.vectors, apart, lambda: self._now, progress)
            self.judged = self.judge.judge(self.closed)
        self.curve.append(self.judged.agreement)
        self._coverage: Coverage | None = None
        self._versions = Versions()

    def __len__(self) -> int:
        """Return the number of images; copies count once."""
        return len(self._images)

    @property
    def decided(self) -> dict[int, Decision]:
        """The decisions by image, the latest last."""
        with self._lock:
            return latest(self._history)

    @property
    def version(self) -> int:
        """The number of decisions and undone ones since the review began."""
        return self._versions.now

    @property
    def classes(self) -> tuple[str, ...]:
        """The present names of classes."""
        return self.judge.classes

    @property
    def _now(self) -> list[Decision]:
        """The present decision on each image."""
        decided = self.decided
        return [decided.get(number, image.given) for number, image in enumerate(self._images)]

    @property
    def paths(self) -> list[list[str]]:
        """The paths of each image and its copies."""
        return [image.paths for image in self._images]

    @property
    def labels_now(self) -> list[str]:
        """The present label of each image, empty for those that have none."""
        return [decision.label for decision in self._now]

    @property
    def closed(self) -> list[int]:
        """The images that need no decision: those decided on, the latest first, and those that were bad before."""
        decided = self.decided
        return [
            *reversed(decided),
            *(number for number, image in enumerate(self._images) if image.given.bad and number not in decided),
        ]

    @property
    def changes(self) -> int:
        """The number of decisions that can be undone, one after another."""
        return len(self._history)

    def to_label(self) -> Positions:
        """Return the images without a label: a few that teach the most together, then the least certain first."""
        with self._lock:
            rest, probability = self.judged.unlabelled, self.judged.probability
            if not len(rest):
                return rest
            if self._coverage is None:
                self._coverage = Coverage(self.vectors, np.sort(rest))
            weights = np.ones(len(self))
            if probability is not None:
                weights -= leads(probability, probability.argmax(axis=1))
            best = self._coverage.choose(weights, np.setdiff1d(np.arange(len(self)), rest))
        return np.concatenate([best, rest[~np.isin(rest, best)]])

    def like(self, image: int, count: int) -> Positions:
        """Return the images nearest to an image by cosine, of those without a label if there are any; see `subject`."""
        self._require(image)
        with self._lock:
            rest = self.judged.unlabelled
            rest = rest[rest != image]
            places = rest if len(rest) else np.delete(np.arange(len(self)), image)
        if not len(places):
            return places
        return np.asarray(places[nearest(self.vectors[places], count, queries=self.vectors[[image]]).places[0]])

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of images that are suspects, have no label, were decided on, have another label, are bad."""
        with self._lock:
            both = list(zip(self._images, self._now, strict=True))
            return {
                "suspects": len(self.judged.suspects),
                "unlabelled": len(self.judged.unlabelled),
                "reviewed": len(self.decided),
                "relabelled": sum(
                    image.given.label != after.label
                    for image, after in both
                    if image.contradicted or image.given.label != UNDECIDED
                ),
                "bad": sum(after.bad for _, after in both),
            }

    def subject(self, image: int) -> Subject:
        """Return the present state of an image; raises UsageError if there is none of this number."""
        self._require(image)
        return self.subjects([image])[0]

    def subjects(self, images: Sequence[int]) -> list[Subject]:
        """Return the present states of images."""
        with self._lock:
            decided, subjects = self.decided, []
            for number in map(int, images):
                image, likely = self._images[number], list[tuple[str, float]]()
                if self.judged.probability is not None:
                    probability = self.judged.probability[number]
                    best = np.argsort(-probability, kind="stable")[:3].tolist()
                    likely = [(self.classes[code], float(probability[code])) for code in best]
                subject = Subject(
                    image=number,
                    paths=image.paths,
                    decision=decided.get(number, image.given),
                    given=image.given,
                    splits=image.splits,
                    reviewed=number in decided,
                    contradicted=image.contradicted,
                    likely=likely,
                )
                subjects.append(subject)
            return subjects

    def key(self, image: int) -> str:
        """Return the sha256 of an image's bytes in hex; raises as :meth:`subject`."""
        self._require(image)
        return self._images[image].key

    def decide(
        self,
        images: int | Sequence[int],
        label: str | None = None,
        *,
        bad: bool = False,
        new: bool = False,
        seen: int | None = None,
    ) -> Change:
        """Label images and their copies, with the same label to confirm it, or mark them as bad.

        Parameters
        ----------
        images
            One or several; several are one decision, and are undone together.
        label
            One of ``classes``; by default of each image its present label.
        new
            The label may be that of a new class.
        seen
            The version that whoever decides has seen; None for the present one.

        Raises
        ------
        UsageError
            No such image or class, or no image.
        DataError
            Somebody else has decided on one of the images since `seen`; or no head could be fitted on the csv any
            more, or it cannot be written, or it cannot hold the name of a new class, or that looks like another.
            Nothing changes then.
        """
        with self._lock:
            several = [images] if isinstance(images, int) else list(dict.fromkeys(images))
            for image in several:
                self._require(image)
            if not several:
                raise UsageError("No image is named.")
            if others := self._versions.since(several, seen):
                path = plain(self._images[others[0]].paths[0])
                raise DataError(
                    f"Another tab has decided on {path} meanwhile. Nothing was changed: look at what it has decided, "
                    "and decide again."
                )
            now = self.decided
            before = [now.get(image, self._images[image].given) for image in several]
            is_new = False
            if new and label is not None and not self.judge.knows(label):
                is_new = True
                self._require_other_case(label)
                require_distinct(self.name, [*self.classes, label])
                self.labels.require_holdable(label)
            step = [
                (image, Decision(old.label if label is None else label, bad))
                for image, old in zip(several, before, strict=True)
            ]
            for _, after in step:
                if not (is_new or self.judge.knows(after.label)) or (after.label == UNDECIDED and not bad):
                    raise UsageError(f"There is no class {after.label!r}. Classes: {few(self.classes)}.")
            self._require_manifest(step)
            return self._go_to([*self._history, step], several, before[0], undone=False)

    def undo(self, seen: int | None = None) -> Change:
        """Undo the latest decision.

        Parameters
        ----------
        seen
            The version that whoever undoes it has seen; None for the present one.

        Raises
        ------
        DataError
            There is no decision, or it is one that was not seen, or the csv cannot be written.
        """
        with self._lock:
            if not self._history:
                raise DataError("Nothing to undo: no decision is left.")
            if seen is not None and seen != self.version:
                raise DataError(
                    "Another tab has decided meanwhile. Nothing was undone: look at its decision, which is the latest, "
                    "and undo again."
                )
            images = [image for image, _ in self._history[-1]]
            before = self.decided[images[0]]
            return self._go_to(self._history[:-1], images, before, undone=True)

    def _go_to(self, history: list[Step], images: list[int], before: Decision, *, undone: bool) -> Change:
        """Replace the history; write the csv first, so that a decision counts only once it is stored."""
        warning = self._write(history)
        start = time.perf_counter()
        self._history = history
        decided, old = self.decided, self.judged
        now = [decided.get(image, self._images[image].given) for image in images]
        with threads(len(self)):
            self.judge.put(images, now)
            self.judged = new = self.judge.judge(self.closed)
        self._versions.note(images)
        if not undone:
            self.curve.append(new.agreement)
        elif len(self.curve) > 1:
            self.curve.pop()
        return Change(
            image=images[0],
            images=images,
            before=before,
            after=now[0],
            undone=undone,
            joined=np.setdiff1d(np.setdiff1d(new.suspects, old.suspects), images).tolist(),
            left=np.setdiff1d(np.setdiff1d(old.suspects, new.suspects), images).tolist(),
            agreement_before=old.agreement,
            agreement_after=new.agreement,
            seconds=time.perf_counter() - start,
            warning=warning,
        )

    def _write(self, history: list[Step]) -> str:
        decided = [(self._images[number].paths, decision) for number, decision in latest(history).items()]
        return self.labels.write(numbered([*self._aside, *decided]))

    def _require(self, image: int) -> None:
        if not 0 <= image < len(self):
            raise UsageError(f"There is no image {image}: they are numbered from 0 to {len(self) - 1}.")

    def _require_other_case(self, label: str) -> None:
        """Refuse a new class that differs from one that there is in case only: a slip of the keyboard."""
        if twin := next((name for name in self.classes if name.casefold() == label.casefold()), None):
            raise DataError(
                f"There is a class {twin!r} already; {label!r} differs from it in case only. Take that one."
            )

    def _require_manifest(self, step: Step) -> None:
        """Refuse a decision after which nothing can be fitted on the csv: train must have every class of all splits.

        While images without a label are being labelled, or one class is divided, nothing is refused: ``fit`` says what
        is still lacking.
        """
        if any(image.given == Decision(UNDECIDED) and not image.contradicted for image in self._images):
            return
        y, train = self.judge.y.copy(), [image.fitted for image in self._images]
        if len(set(y[train].tolist()) - {NONE}) < 2:
            return
        for image, after in step:
            y[image] = self.judge.code(after, new=len(self.classes))
        fitted = set(y[train].tolist()) - {NONE}
        lost = sorted(set(y.tolist()) - {NONE} - fitted)
        path, after = plain(self._images[step[0][0]].paths[0]), step[0][1]
        if lost:
            name = [*self.classes, after.label][lost[0]]
            raise DataError(f"No image of {name!r} would be left to fit on without {path}, but some in other splits.")
        if len(fitted) < 2:
            raise DataError(f"Images of one class only would be left to fit on without {path}: two classes are needed.")

    def _by_image(self, decisions: Mapping[str, Decision]) -> tuple[list[Step], list[tuple[list[str], Decision]]]:
        """Return decisions by image, the latest last; and by path those on images that could not be read.

        The latter stay in the csv.
        """
        numbers = {path: number for number, image in enumerate(self._images) for path in image.paths}
        by_image: dict[int, list[Decision]] = {}
        aside = []
        for path, decision in decisions.items():
            if path in numbers:
                by_image[numbers[path]] = [*by_image.pop(numbers[path], []), decision]
            else:
                aside.append(([path], decision))
        return [[(number, agreed(copies))] for number, copies in by_image.items()], aside
