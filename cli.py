"""The command line: a table of verbs. Data on stdout, progress and log on stderr.

A verb lives in a module of its room as ``add_NAME(parser)`` and ``run_NAME(arguments, progress) -> Answer``. The
module is imported when the verb is used: ``fc7 --help`` imports none. What its help says beside the options is in
``extract/commands/manual.py``.
"""

import argparse
import gc
import importlib
import logging
import sys
from collections.abc import Sequence
from typing import Any

from . import __version__
from .errors import FC7Error, Interrupted
from .extract.commands.parser import Parser

# verb: what it does, the module of its options and of its work
VERBS = {
    "extract": ("compute the embeddings that the cache lacks", "extract.commands.extract"),
    "fit": ("fit one head on the embeddings and save a bundle", "classify.commands.verbs"),
    "finetune": ("train from pixels under the protocol of the heads", "classify.commands.verbs"),
    "compare": ("fit many heads under one protocol", "classify.commands.verbs"),
    "report": ("write a page, Markdown or csv from run records", "classify.commands.verbs"),
    "predict": ("label new images with a bundle", "classify.commands.bundle_verbs"),
    "audit": ("look for leaks, copies, outliers and wrong labels in a data set", "classify.commands.audit_verbs"),
    "review": ("look at doubted images in a browser, fix labels, leave images out", "classify.commands.audit_verbs"),
    "export": (
        "write bundle and backbone as one network: ONNX, torch.export or a state dict",
        "classify.commands.bundle_verbs",
    ),
    "backbones": ("what can run here, and where its weights are", "extract.commands.backbones"),
    "cache": ("look after the cache", "extract.commands.cache"),
    "demo": ("the main job on an embedded example, without network", "classify.commands.verbs"),
    "completion": ("print a script that lets a shell complete all this", "classify.commands.completion"),
}
CACHE_VERBS = {
    "info": "what the cache holds",
    "verify": "check that every shard is as it was committed",
    "repair": "set damaged shards aside, so that the next extract computes their rows",
    "gc": "remove what nobody will read: leftovers, damaged shards, rows kept twice, or a whole recipe",
    "compact": "merge small shards into full ones",
    "export": "write one flat .h5 for other tools",
    "import": "take the rows of such a file into the cache",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: see the table in ``fc7 --help``."""
    # A list of a million files is no garbage; looking for some in it takes a twentieth of a repeated extract.
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == ["help"]:  # fc7 help fit
        words = [*words[1:], "--help"]
    as_json = "--json" in words
    try:
        arguments = parser(words).parse_args(words)
        _log_to_stderr(arguments)
        return _run(arguments)
    except FC7Error as error:
        return _fail(str(error), error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        return _fail("Interrupted.", Interrupted.exit_code, as_json=as_json)
    except BrokenPipeError:  # the reader of a pipe went away, as in `fc7 ... | head`
        sys.stderr.close()
        return 1


def parser(words: Sequence[str] | None = None) -> Parser:
    """Return the parser; given the words of a call, the options of its verb only are filled in."""
    top = Parser("fc7")
    top.add_argument("--version", action="version", version=f"fc7 {__version__}", help="print it")
    verbs = top.add_subparsers(title="verbs", metavar="VERB", required=True)
    asked = VERBS if words is None else [next((word for word in words if word in VERBS), "")]
    for name, (text, where) in VERBS.items():
        verb = verbs.add_parser(name, help=text)
        if name not in asked:
            continue
        if name == "cache":
            inner = verb.add_subparsers(title="verbs", metavar="VERB", required=True)
            for one, what in CACHE_VERBS.items():
                _fill(inner.add_parser(one, help=what), f"cache_{one}", where)
        else:
            _fill(verb, name, where)
    return top


def _fill(verb: Parser, name: str, where: str) -> None:
    module = importlib.import_module(f".{where}", __package__)
    getattr(module, f"add_{name}")(verb)
    output = verb.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print exactly one JSON object on stdout")
    loud = output.add_mutually_exclusive_group()
    loud.add_argument("--quiet", action="store_true", help="no progress, warnings only")
    loud.add_argument("--verbose", action="store_true", help="say more")
    verb.set_defaults(run=getattr(module, f"run_{name}"), parser=parser)


def _run(arguments: argparse.Namespace) -> int:
    from .extract.progress import bars

    with bars(quiet=arguments.quiet) as progress:
        answer = arguments.run(arguments, progress)
    print(_json(answer.payload) if arguments.json else answer.text)
    sys.stdout.flush()
    return int(answer.code)


def _fail(message: str, code: int, *, as_json: bool) -> int:
    from .extract.text import plain

    print(f"fc7: {plain(message)}", file=sys.stderr)
    if as_json:
        print(_json({"error": message, "exit_code": code}))
    return code


def _json(payload: dict[str, Any]) -> str:
    import json

    return json.dumps(payload, indent=1)


class _Stderr(logging.Handler):
    """Write to whatever ``sys.stderr`` is now: a progress bar redirects it while it is drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_to_stderr(arguments: argparse.Namespace) -> None:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger(__package__)
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.WARNING if arguments.quiet else logging.DEBUG if arguments.verbose else logging.INFO)
