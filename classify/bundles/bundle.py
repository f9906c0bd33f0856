"""The bundle, ``.fc7``: a fitted head with all that predicting new images takes, and no executable code.

A zip (:mod:`fc7.classify.bundles.members`) of ``bundle.json`` (recipe, classes, thresholds, versions, metrics),
``head.skops`` (:mod:`fc7.classify.bundles.trusted_head`), ``abstention.safetensors`` (out-of-fold predictions; see
:mod:`fc7.classify.evaluation.abstention`), ``fitted.safetensors`` if it was asked for
(:mod:`fc7.classify.bundles.fitted_images`), and ``sha256.json`` with the sha256 of the others. Never a pickle.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...cache.arguments import checked
from ...cache.output_file import OutputFile
from ...cache.recipe import AnyRecipe, read_recipe
from ...cache.tables import counted
from ...errors import BundleError, UsageError
from ...extract.backbones.backbone import Backbone
from ...extract.computing import computing
from ...extract.in_memory import Picture
from ...extract.new_images import NewImages
from ...extract.progress import Progress, silent
from ...extract.text import few
from ..data.joint import side_by_side
from ..evaluation.abstention import CONFIDENCE, Abstention, Threshold
from ..records.licences import licences
from ..records.runs import versions
from .answers import AnswerRules, require_measured, say_centre_crops
from .backbones import LoadedBackbones, own_backbone, require_same
from .cost_matrix import check_costs, require_one, say_shifted
from .fitted_images import FittedImages, require_kept
from .members import FITTED, FORMAT, packed, read_members
from .prediction import Prediction, Predictions, require_distinct
from .trusted_head import load_head, require_consistent, require_version

if TYPE_CHECKING:
    import torch

    from ..fitting.fit import Fitted


@dataclass(frozen=True)
class Bundle:
    """A head ready for new images.

    Attributes
    ----------
    estimator
        Maps raw embeddings ``(n, dim)`` to probabilities.
    classes
        Names in the order of the columns.
    recipe, weights_source
        What decides the embeddings, and where the backbone's weights came from.
    views
        Number of random views averaged with the centre crop of each image.
    run
        The record of the fit, without its per-image predictions.
    abstention
        Thresholds and distances from out-of-fold predictions; None for a head without those.
    max_error
        Largest share of wrong answers; with None, every image gets an answer.
    confidence
        That this promise holds.
    fitted_images
        Vectors, paths and labels of the fitted images, if they are kept.
    costs
        Of answers, as rows by true class, ``(classes, classes)``: the answer is that of least expected cost. With None
        it is the most probable class.
    """

    estimator: Any
    classes: tuple[str, ...]
    recipe: AnyRecipe
    weights_source: str
    run: Mapping[str, Any] = field(default_factory=dict)
    views: int = 0
    abstention: Abstention | None = None
    max_error: float | None = None
    confidence: float = CONFIDENCE
    fitted_images: FittedImages | None = None
    costs: Any = None
    _loaded: LoadedBackbones = field(default_factory=LoadedBackbones, init=False, repr=False, compare=False)

    def __repr__(self) -> str:
        head = f"{self.run['head']} on " if "head" in self.run else ""
        classes = few([repr(name) for name in self.classes], 3)
        count = counted(len(self.classes), "class", "classes")
        return f"Bundle({head}{self.recipe.backbone} {self.recipe.layer}, {count}: {classes})"

    def __post_init__(self) -> None:
        """Refuse a share of errors for which there is no threshold, or none that could be told from an answer."""
        if self.max_error is not None:
            require_distinct(self.classes, "--max-error")
            require_measured(self.abstention, "--max-error")
            _ = self.threshold
        require_one(self.max_error, self.costs)
        if self.costs is not None:
            object.__setattr__(self, "costs", check_costs(self.costs, len(self.classes)).tolist())

    @classmethod
    @checked
    def of(
        cls,
        fitted: "Fitted",
        max_error: float | None = None,
        *,
        confidence: float = CONFIDENCE,
        with_neighbours: bool = False,
    ) -> "Bundle":
        """Return the bundle of a fitted head.

        With neighbours it keeps vectors, paths and labels of the fitted images, which :meth:`predict` can show beside
        predictions; whoever has the bundle has them.

        Parameters
        ----------
        fitted
            What :func:`fc7.classify.fit` returns.
        max_error
            Largest share of wrong answers, between 0 and 1: images below the probability that keeps it get no answer.
            None answers all.
        confidence
            With which `max_error` holds, between 0 and 1.
        with_neighbours
            Keep the fitted images' vectors, paths and labels.

        Raises
        ------
        DataError
            `max_error` needs out-of-fold predictions, and the head has none; or the vectors are too large for a bundle.
        UsageError
            `max_error` is not a share, or a class is called ``not sure``.
        """
        embeddings, run = fitted.embeddings, fitted.run
        views = len(embeddings.views) if run.protocol["average_views"] else 0
        if max_error is not None:
            say_centre_crops(views)
        return cls(
            fitted.estimator, embeddings.classes, embeddings.recipe, embeddings.weights_source,
            run={name: getattr(run, name) for name in _KEPT},
            views=views, abstention=fitted.abstention, max_error=max_error, confidence=confidence,
            fitted_images=FittedImages.of(embeddings, fitted.rows) if with_neighbours else None,
        )  # fmt: skip

    @property
    def licence(self) -> str:
        """Licence of the backbone's weights, by the word of the library that publishes them; empty if unknown."""
        return licences([(part.backbone, part.weights) for part in self.recipe.parts], self.weights_source)

    @cached_property
    def threshold(self) -> Threshold | None:
        """The least probability of an answer; None if every image gets one."""
        if self.abstention is None or self.max_error is None:
            return None
        return self.abstention.threshold(self.max_error, self.confidence)

    @checked
    def abstaining(self, max_error: float | None = None, confidence: float | None = None) -> "Bundle":
        """Return a copy with another threshold, given as for :meth:`of`; what is None stays.

        Raises
        ------
        UsageError
            There is a confidence, and no error that it is of; or as :meth:`of`.
        """
        error = self.max_error if max_error is None else max_error
        if error is None and confidence is not None:
            raise UsageError("--confidence is that of --max-error, and there is none. Give both.")
        return replace(self, max_error=error, confidence=self.confidence if confidence is None else confidence)

    @checked
    @computing()
    def predict_proba(self, vectors: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return the probability of each class.

        Parameters
        ----------
        vectors
            Embeddings ``(n, dim)`` of this bundle's recipe, of any floating type; computed in float32.

        Returns
        -------
        ndarray
            Float64 ``(n, classes)``, in the order of `classes`; rows sum to 1.

        Raises
        ------
        BundleError
            The array has another shape.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.recipe.dim:
            raise BundleError(
                f"The bundle takes {self.recipe.dim}-d embeddings of {self.recipe.backbone} {self.recipe.layer}, "
                f"got an array of shape {vectors.shape}."
            )
        return np.asarray(self.estimator.predict_proba(vectors.astype(np.float32)))

    @checked
    @computing()
    def predict(
        self,
        images: Iterable[Path | str | Picture],
        *,
        max_error: float | None = None,
        confidence: float | None = None,
        coverage: float | None = None,
        class_conditional: bool = False,
        unlike: str = "flag",
        neighbours: int | None = None,
        costs: Any = None,
        backbone: "Backbone | torch.nn.Module | None" = None,
        weights: str | None = None,
        device: str = "auto",
        batch_size: int | None = None,
        cache: Path | str | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> Predictions:
        """Predict images.

        Parameters
        ----------
        images
            As in :class:`fc7.extract.new_images.NewImages`. A file that is not an acceptable image gets the reason as
            its answer.
        max_error
            Largest share of wrong answers: where the probability is too small for that, the answer is ``not sure``. By
            default the bundle's own, if it has one. See
            :meth:`fc7.classify.evaluation.abstention.Abstention.threshold`.
        confidence
            That this promise holds; by default the bundle's own, which is 0.9 if nothing else was said.
        coverage
            Each image gets a set of classes, too, which holds the right one for this share of images. See
            :meth:`fc7.classify.evaluation.abstention.Abstention.sets`.
        class_conditional
            For this share of the images of every class.
        unlike
            ``flag`` marks images that are unlike the fitted ones, ``not-sure`` does not answer them either.
        neighbours
            How many of the nearest fitted images to name with each prediction; the bundle must have them.
        costs
            Of answers, see :class:`Bundle`; by default the bundle's own, if it has some.
        backbone
            The backbone the head was fitted on, or its module, if that is your own; others are loaded by name.
        weights
            Source of the backbone's weights, if it has changed; the bytes must be the same.
        device, batch_size, cache, workers, progress
            As in :func:`fc7.extract.extract`; files are computed only once. Images in memory are not cached.

        Returns
        -------
        Predictions
            A list of :class:`fc7.classify.Prediction` in the order of the images; those of a folder or a pattern are
            sorted.

        Raises
        ------
        DataError
            There are no images, or an option needs what the bundle has not: out-of-fold predictions, fitted images.
        UsageError
            An option has a value that it cannot have, or a class is called ``not sure``; or one path or one picture,
            which belongs into a list.
        BundleError
            The weights differ from those the head was fitted on.
        """
        bundle = self if max_error is None and confidence is None else self.abstaining(max_error, confidence)
        bundle = bundle if costs is None else replace(bundle, costs=costs)
        rules = AnswerRules.of(
            bundle.classes, bundle.abstention, bundle.threshold, bundle.costs, coverage=coverage,
            class_conditional=class_conditional, unlike=unlike,
        )  # fmt: skip
        if bundle.costs is not None:
            say_shifted(bundle.run)
        if bundle.threshold or coverage is not None:
            say_centre_crops(self.views)
        require_kept(self.fitted_images, neighbours)
        new_images = NewImages(images)
        machine = {"device": device, "batch_size": batch_size, "cache": cache, "progress": progress}
        backbones = self.backbones(backbone, weights, **machine)
        predictions = {}
        views = [[replace(part, view=view) for part in self.recipe.parts] for view in range(1 + self.views)]
        for places, vectors in new_images.vectors(backbones, cache=cache, workers=workers, progress=progress):
            joint = [side_by_side([vectors[recipe] for recipe in recipes]) for recipes in views]
            rows = np.mean([self.predict_proba(view) for view in joint], axis=0)
            nothing = [None] * len(places)
            distances = self.abstention.distances(joint[0]) if self.abstention else nothing
            near = self.fitted_images.nearest(joint[0], neighbours) if neighbours and self.fitted_images else nothing
            for place, *known in zip(places, rows, distances, near, strict=True):
                predictions[place] = rules.prediction(new_images.names[place], *known)
        for place, reason in new_images.rejected.items():
            predictions[place] = Prediction(new_images.names[place], rejected=reason)
        return Predictions(predictions[place] for place in sorted(predictions))

    def backbones(
        self, backbone: "Backbone | torch.nn.Module | None" = None, weights: str | None = None, **machine: Any
    ) -> list[Backbone]:
        """Return the backbones its head was fitted on: the given one if it is the same, else loaded by name, once.

        Parameters
        ----------
        machine
            As in :func:`fc7.extract.load_backbone`.

        Raises
        ------
        BundleError
            They cannot be found, or differ.
        """
        if backbone is not None:
            if not isinstance(backbone, Backbone):
                own = {name: value for name, value in machine.items() if name in ("device", "batch_size")}
                backbone = own_backbone(backbone, self.recipe, self.views, **own)
            require_same([backbone], self.recipe, self.views)
            return [backbone]
        return self._loaded.of(self.recipe, weights or self.weights_source, self.views, **machine)

    @checked
    def save(self, path: Path | str | OutputFile) -> Path:
        """Write the bundle, whole or not at all, and return its path.

        Raises
        ------
        BundleError
            The file cannot be written.
        """
        import skops.io

        output = path if isinstance(path, OutputFile) else OutputFile(path, BundleError)
        threshold = self.threshold
        description = {
            "format": FORMAT,
            "classes": list(self.classes),
            "recipe": json.loads(self.recipe.to_json()),
            "weights_source": self.weights_source,
            "licence": self.licence,  # for people who open the file
            "views": self.views,
            "max_error": self.max_error,
            "confidence": self.confidence,
            "thresholds": {  # for people who open the file
                "answer": threshold.to_dict() if threshold else None,
                "unlike": {"distance": self.abstention.limit} if self.abstention else None,
            },
            **({} if self.costs is None else {"costs": self.costs}),
            "run": dict(self.run),
            "versions": versions("scikit-learn", "skops", "numpy"),
        }
        members = {
            "bundle.json": json.dumps(description, indent=1).encode(),
            "abstention.safetensors": Abstention.to_bytes(self.abstention),
            "head.skops": skops.io.dumps(self.estimator),
        }
        if self.fitted_images:
            members[FITTED] = self.fitted_images.to_bytes()
        return output.write(packed(members))

    @classmethod
    @checked
    def load(cls, path: Path | str) -> "Bundle":
        """Read a bundle without executing code from it.

        Raises
        ------
        BundleError
            The file is absent, damaged, tampered with, of another format or scikit-learn, or holds types of no head.
        """
        path = Path(path)
        try:
            members = read_members(path)
            description = json.loads(members["bundle.json"])
            require_version(path, description["versions"]["scikit-learn"])
            recipe = read_recipe(json.dumps(description["recipe"]))
            classes = tuple(str(name) for name in description["classes"])
            head = load_head(path, members["head.skops"])
            require_consistent(path, head, classes, recipe)
            kept = members.get(FITTED)
            images = None if kept is None else FittedImages.from_bytes(kept, recipe.dim, classes)
            max_error = description["max_error"]
            return cls(
                head, classes, recipe, str(description["weights_source"]),
                run=description["run"], views=int(description["views"]),
                abstention=Abstention.from_bytes(members["abstention.safetensors"], recipe.dim),
                max_error=None if max_error is None else float(max_error),
                confidence=float(description["confidence"]), fitted_images=images, costs=description.get("costs"),
            )  # fmt: skip
        except BundleError:
            raise
        except Exception as error:  # zip, zlib, json and recipe each have their own errors; none may escape
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise BundleError(
                f"{path} is not a readable bundle: {reason}. Make one with: fc7 fit DATA -o {path.name}"
            ) from error


# Of a run record, without what is said of single images.
_KEPT = (
    "id", "head", "data", "protocol", "folds", "selection", "hyperparameters", "metrics", "seconds", "notes",
    "versions",
)  # fmt: skip
