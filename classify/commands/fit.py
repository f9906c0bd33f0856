"""The verb ``fit``: fit one head on the embeddings and save a bundle."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BundleError, UsageError
from ...extract.commands import options
from ...extract.commands.hints import command
from ...extract.commands.options import Arguments, given
from ...extract.commands.terminal import Answer
from ...extract.progress import Progress
from ...extract.readers import positive_share, share
from ...extract.text import plain
from ..heads.table import HEADS
from ..settings import FitSettings
from .options import CONFIDENCE, COSTS, HEADS_AND_LAYERS, MAX_ERROR, add_protocol

logger = logging.getLogger(__name__)

TEXT = """
Fit one head on the embeddings, with hyper-parameters and calibration chosen in folds of the fitted images, evaluate
it once, and save what prediction needs as a bundle. Embeddings that the cache lacks are computed first.

Exits 4 if the same image is on both sides of a split.
"""
EXAMPLES = """
# logistic regression on VGG16's fc7
fc7 fit my_pictures --backbone vgg16 -o my.fc7

# rare classes count as much as common ones
fc7 fit my_pictures --backbone vgg16 --class-weight balanced -o my.fc7

# from a file that `fc7 cache export` wrote: no images, no backbone
fc7 fit my.h5 --head ridge -o my.fc7

# one that says `not sure` rather than be wrong in over 2 % of its answers
fc7 fit my_pictures --backbone vgg16 --max-error 0.02 -o my.fc7
"""

_UNKNOWN_COST = "What the evaluated images cost is not known: the record keeps the most probable classes only."
_WITH_NEIGHBOURS = (
    "keep vectors, paths and labels of the fitted images in the bundle, for predict --neighbours; who has it has them"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of fit."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.fc7", help="the bundle to write")
    parser.add_argument(
        "--card",
        action="store_true",
        help="also write README.md beside the bundle: figures, classes and the licence of the weights, for model hubs",
    )
    parser.add_argument(
        "--head", choices=list(HEADS), default="logreg", metavar="NAME", help=f"{HEADS_AND_LAYERS} (default: logreg)"
    )
    parser.add_argument("--max-error", type=share, metavar="X", help=f"{MAX_ERROR} (default: always answer)")
    parser.add_argument("--confidence", type=positive_share, metavar="C", help=f"{CONFIDENCE} (default: 0.9)")
    parser.add_argument("--with-neighbours", action="store_true", help=_WITH_NEIGHBOURS)
    parser.add_argument("--costs", type=Path, metavar="FILE.csv", help=f"{COSTS} (default: the most probable class)")
    add_protocol(parser)
    options.add_backbone(parser)
    options.add_engine(parser)


def run(arguments: Arguments, progress: Progress) -> Answer:
    """Fit one head on the embeddings and save a bundle."""
    from ...cache.output_file import OutputFile, require_apart
    from ...cache.recipe import ForeignRecipe
    from ...extract.manifest.table import is_vectors
    from ..bundles.bundle import Bundle
    from ..bundles.card import card_of, write_card
    from ..bundles.cost_matrix import read_costs, require_one, say_shifted
    from ..bundles.prediction import require_distinct
    from ..fitting.fit import fit
    from ..heads.table import find_head
    from ..records.class_report import cost_report, misleading
    from .class_tables import class_lines, cost_lines
    from .inputs import fitted_embeddings
    from .tables import by_class, run_lines

    require_one(arguments.max_error, arguments.costs)
    if arguments.confidence is not None and arguments.max_error is None:
        raise UsageError("--confidence is that of --max-error, and there is none. Give both.")
    if arguments.costs:
        read_costs(arguments.costs)
    find_head(arguments.head, weighted=arguments.class_weight is not None)  # refused before anything is computed
    output = OutputFile(arguments.output, BundleError, kinds=(".fc7",))
    if arguments.card and output.written_through:
        raise UsageError(f"--card is a file beside the bundle, and {arguments.output} is not a file. Name one with -o.")
    card = card_of(arguments.output) if arguments.card else None
    require_apart(output, card, read=[arguments.data, *filter(None, [arguments.costs])])
    with options.engine(arguments) as engine:
        (rows,), unlabelled = fitted_embeddings(arguments, progress, engine, only=not arguments.concatenate)
        if arguments.max_error is not None:
            require_distinct(rows.classes, "--max-error")
        costs = read_costs(arguments.costs, rows.classes) if arguments.costs else None
        settings = options.given_settings(arguments, FitSettings)
        fitted = fit(rows, arguments.head, engine=engine, progress=progress, on_epoch=logger.info, **settings)
    kept = {"with_neighbours": arguments.with_neighbours, **given(arguments, "confidence")}
    bundle = Bundle.of(fitted, arguments.max_error, **kept)
    if costs is not None:
        bundle = replace(bundle, costs=costs)
        say_shifted(bundle.run)
    path, threshold = bundle.save(output), bundle.threshold
    beside = f" and {plain(str(write_card(card, bundle, fitted.run, path)))}" if card else ""
    then = command(arguments, "predict", bundle=path, images="IMAGE...")
    foreign = isinstance(bundle.recipe, ForeignRecipe)  # of vectors that fc7 cannot make of new images
    how = "In Python: Bundle.load(FILE).predict_proba(vectors)" if foreign else f"Predict with: {plain(then)}"
    after = f"Wrote {plain(str(path))}{beside}. {how}"
    rest = ""
    if unlabelled and not is_vectors(arguments.data, arguments.columns):
        words = command(arguments, "predict", bundle=path, images=arguments.data, unlabelled=True)
        rest = f"Predict the {unlabelled} without a label with: {plain(words)}"
    costing = cost_report(fitted.run, costs, fitted.probability) if costs is not None else None
    payload: dict[str, Any] = {
        "bundle": str(path),
        "card": str(card.path) if card else None,
        "run": fitted.run.summary(),
        "by_class": by_class(fitted.run),
        "costs": costing and {name: cost.to_dict() for name, cost in costing.items()},
        "threshold": threshold and threshold.to_dict(),
    }
    payload["unlabelled"] = unlabelled
    lines = [
        run_lines([fitted.run]),
        class_lines(fitted.run, fitted.run.name),
        f"note: {warning}" if (warning := plain(misleading(fitted.run))) else "",
        cost_lines(costing) if costing or costs is None else _UNKNOWN_COST,
        f"It {threshold}" if threshold else "",
        after,
        rest,
    ]
    return Answer(payload, "\n".join(filter(None, lines)))
