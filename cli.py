"""The command line: a table of verbs. Data on stdout, progress and log on stderr.

A verb is one module of its room: ``TEXT``, ``EXAMPLES`` and perhaps ``LISTS`` for its help, ``add_options(parser)`` and
``run(arguments, progress) -> Answer``; or ``VERBS``, a table of its own verbs. The module is imported when the verb is
used, and it imports nothing heavy before ``run``: help comes at once.
"""

import argparse
import contextlib
import errno
import gc
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import __version__
from .errors import FC7Error, Interrupted, command_line, dependencies
from .extract.commands import hints, overview, project_file, streams
from .extract.commands.parser import Parser

# verb: what it does, its module
VERBS = {
    "extract": ("compute the embeddings that the cache lacks", "extract.commands.extract"),
    "fit": ("fit one head on the embeddings and save a bundle", "classify.commands.fit"),
    "finetune": ("train the backbone from pixels, to compare with heads", "classify.commands.finetune"),
    "compare": ("fit many heads and test their differences", "classify.commands.compare"),
    "screen": ("say which backbone, layer and size to take for these images", "classify.commands.screen"),
    "report": ("write a page, Markdown or csv from run records", "classify.commands.report"),
    "predict": ("label new images with a bundle", "classify.commands.predict"),
    "audit": ("look for leaks, copies, outliers and wrong labels in a data set", "classify.commands.audit"),
    "similar": ("find the images of a data set that are most like others", "classify.commands.similar"),
    "review": ("look at doubtful labels in a browser, fix them, leave images out", "classify.commands.review"),
    "export": (
        "write bundle and backbone as one network: ONNX, torch.export or a state dict",
        "classify.commands.export",
    ),
    "backbones": ("list networks, and say where their weights are", "extract.commands.backbones"),
    "doctor": ("say what this machine has, and what would make fc7 faster", "extract.commands.doctor"),
    "cache": ("look after the cache", "extract.commands.cache"),
    "demo": ("run the main job on an example, without network", "classify.commands.demo"),
    "completion": ("print a script that lets a shell complete all this", "classify.commands.completion"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: see the table in ``fc7 --help``."""
    with command_line():
        return _main(argv)


def _main(argv: Sequence[str] | None) -> int:
    # A list of a million files is no garbage; looking for some in it takes a twentieth of a repeated extract.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["help"]:  # fc7 help fit
        words = [*words[1:], "--help"]
    if argv is None:
        streams.prepare()
    as_json = "--json" in words
    try:
        with dependencies():
            code = _run(words)
        streams.flush()  # of help, too
        return code
    except streams.OutputClosed as error:
        return error.exit_code
    except FC7Error as error:
        return _fail(str(error), error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        return _fail("Interrupted.", Interrupted.exit_code, as_json=as_json)
    except OSError as error:  # of the system, and nobody who knows more has said it
        return _fail(_said(error), 1, as_json=as_json)
    except MemoryError:
        return _fail("There is not enough memory for this.", 1, as_json=as_json)


def parser(words: Sequence[str] | None = None) -> Parser:
    """Return the parser; given the words of a call, the options of its verb only are filled in."""
    top = Parser("fc7")
    top.text, top.examples = overview.TEXT, overview.EXAMPLES
    top.lists = {"exit codes": overview.EXIT_CODES, "environment": overview.ENVIRONMENT}
    top.add_argument("--version", action="version", version=f"fc7 {__version__}", help="print it")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    filled = VERBS if words is None else [next((word for word in words if word in VERBS), "")]
    for name, (summary, where) in VERBS.items():
        verb = verbs.add_parser(name, help=summary)
        if name in filled:
            _fill(verb, importlib.import_module(f".{where}", __package__))
    return top


def _fill(verb: Parser, module: Any) -> None:
    verb.text, verb.examples, verb.lists = module.TEXT, module.EXAMPLES, getattr(module, "LISTS", {})
    if not hasattr(module, "VERBS"):
        _add_options(verb, module.add_options, module.run)
        return
    verbs = verb.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, row in module.VERBS.items():
        inner = verbs.add_parser(name, help=row.summary)
        inner.text, inner.examples = row.text, row.examples
        _add_options(inner, row.add_options, row.run)


def _add_options(verb: Parser, add_options: Callable[[Parser], None], run: Callable[..., Any]) -> None:
    add_options(verb)
    output = verb.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    loud = output.add_mutually_exclusive_group()
    loud.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    loud.add_argument("--verbose", action="store_true", help="say more")
    verb.set_defaults(run=run, parser=parser)


def _run(words: Sequence[str]) -> int:
    top = parser(words)
    if not {"-h", "--help"}.intersection(words) and _is_somewhere():
        project = project_file.ProjectFile.find(Path.cwd())
        if project:
            top = parser()
            project.fill(top, words)
    project_file.mark_defaults(top)
    try:
        arguments = top.parse_args(words)
    except SystemExit as stopped:  # after help
        return int(stopped.code or 0)
    origins = project_file.settle(arguments)
    _log_to_stderr(arguments)
    if not _is_somewhere():
        raise FC7Error("The working directory is not there any more. Change to another one.")
    from .extract.progress import bars

    try:
        with bars(quiet=arguments.quiet) as progress:
            answer = arguments.run(arguments, progress)
    except streams.OutputClosed:
        raise
    except FC7Error as error:
        return _fail(hints.complete(str(error), arguments), error.exit_code, as_json=arguments.json)
    if arguments.json:
        _answer_json(answer.payload | {"options": origins})
    else:
        streams.answer(answer.text, data=answer.data)
    return int(answer.code)


def _is_somewhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _fail(message: str, code: int, *, as_json: bool) -> int:
    streams.say_error(message)
    if as_json:
        with contextlib.suppress(FC7Error):  # stdout may be what failed
            _answer_json({"error": message, "exit_code": code})
    return code


def _said(error: OSError) -> str:
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes | os.PathLike) else ""
    reason = error.strerror or str(error)
    if error.errno == errno.EMFILE:
        reason += ". Let a process open more with: ulimit -n 1024"
    return ": ".join(filter(None, (name, reason)))


def _answer_json(payload: dict[str, Any]) -> None:
    import json

    text = json.dumps(payload, indent=1)
    streams.answer(text, data=text)


def _log_to_stderr(arguments: argparse.Namespace) -> None:
    logger = logging.getLogger(__package__)
    logger.handlers = [streams.Stderr(lambda message: hints.complete(message, arguments))]
    logger.propagate = False
    logger.setLevel(logging.WARNING if arguments.quiet else logging.DEBUG if arguments.verbose else logging.INFO)
