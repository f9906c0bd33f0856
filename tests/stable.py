"""What programs that use fc7 rely on: verbs, options, answers and files, names and parameters, formats.

Usage: PYTHONPATH=tests python tests/stable.py tests/stable.json writes it anew. tests/test_stability.py compares: what
is in the file must be there; what is new may be.
"""

import contextlib
import inspect
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import sklearn.datasets
from fakes import coloured

import fc7.cache
import fc7.classify
import fc7.classify.heads
import fc7.errors
import fc7.extract
from fc7 import cli
from fc7.cache.format import VERSION
from fc7.classify.bundles.members import FORMAT
from fc7.classify.commands import demo
from fc7.classify.heads import HEADS
from fc7.classify.records.runs import RECORD
from fc7.classify.reviews.server import Server
from fc7.extract.commands.overview import ENVIRONMENT, ENVIRONMENT_OF_JOBS

DOORS = (fc7.extract, fc7.classify, fc7.classify.heads, fc7.cache)


NETWORK = "--backbone squeezenet1_1 --weights random:0 --layer gap --image-size 32"
OWN = """
import torch
from fc7.cache.recipe import Transform
from fc7.extract import Backbone

def make():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

def backbone():
    return Backbone(make(), Transform(32, 32), name="mine")
"""
ANSWERS = (  # what each verb is asked for its keys, in this order; without --json if its output goes to a file
    f"extract pictures {NETWORK} -o vectors.npz",
    "compare vectors.npz --heads ridge,knn --folds 2 -o runs",
    f"fit pictures {NETWORK} --head ridge --folds 2 -o new.fc7",
    "finetune pictures --backbone squeezenet1_1 --weights random:0 --epochs 1 --cross-validate 2 -o runs",
    f"screen pictures {NETWORK} --heads ridge -o screening",
    "report runs -o report.html --csv runs.csv",
    "predict new.fc7 pictures/red --max-error 0.5",
    "predict new.fc7 pictures/red --top 2 > predictions.csv",
    "fit pictures --backbone own.py:backbone --head ridge --folds 2 -o own.fc7",
    "export own.fc7 --backbone own.py:make -o own.pt2",
    f"audit pictures {NETWORK} --folds 2 --csv findings.csv",
    "similar vectors.npz",
    "similar vectors.npz > neighbours.csv",
    f"review pictures {NETWORK} -o labels.csv",
    f"extract pictures {NETWORK} -o vectors.csv",
    "backbones alexnet",
    "backbones alexnet --csv > backbones.csv",
    "doctor",
    "demo",
    "cache info",
    "cache verify",
    "cache repair",
    "cache gc",
    "cache compact",
    f"cache export rows.h5 pictures {NETWORK}",
    "cache import rows.h5",
)


def options(parser, name=""):
    """Return the arguments of each verb, and of the verbs of a verb: options with their choices, and places."""
    found = {}
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for verb, inner in action.choices.items():
                found |= options(inner, f"{name} {verb}".strip())
    if name:
        words = [word for action in parser._actions for word in action.option_strings or [action.dest.upper()]]
        values = [f"{action.option_strings[-1]} {choice}" for action in parser._actions if action.option_strings
                  for choice in action.choices or ()]  # fmt: skip
        found[name] = sorted(words + values)
    return found


def answers_and_files():
    """Return the keys of what each verb of `ANSWERS` prints with ``--json``, and what its files hold.

    Keys are those down to the second level. Of an audit and the doctor the first alone: what one finds in made pictures
    depends on the version of Pillow, and what the other says on the machine.
    """
    found, digits = {}, sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:60], digits.target[:60]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, {"FC7_CACHE": f"{folder}/cache"}),
        mock.patch.object(sklearn.datasets, "load_digits", lambda: digits),
        mock.patch.object(demo, "_installed", lambda: demo.SMALL),
        mock.patch.object(Server, "run", lambda self: self._socket.close() or self.review.decide(0, bad=True)),
    ):
        coloured(Path("pictures"), 12)
        Path("own.py").write_text(OWN, encoding="utf-8")
        for line in ANSWERS:
            command, _, output = line.partition(" > ")
            stream = io.StringIO()
            with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(io.StringIO()) as said:
                code = cli.main([*command.split(), *([] if output else ["--json"])])
            if code:
                raise RuntimeError(f"fc7 {line} ends with {code}: {said.getvalue()}")
            if output:
                Path(output).write_text(stream.getvalue(), encoding="utf-8")
                continue
            verb, levels = (
                line.split()[: 1 + line.startswith("cache ")],
                1 if line.startswith(("audit", "doctor")) else 2,
            )
            found[" ".join(verb)] = sorted(keys(json.loads(stream.getvalue()), levels))
        return found, files()


def files():
    """Return the columns of each csv in the working directory, the arrays of its .npz, what its .pt2 says of itself.

    Columns keep their order, as parameters by place do: a star follows. Of many numbers the first two have a name here.
    """
    import torch

    notes = {"fc7.json": ""}
    torch.export.load("own.pt2", extra_files=notes)
    heads = {path.name: path.read_text("utf-8").splitlines()[0].split(",") for path in sorted(Path().glob("*.csv"))}
    found = {
        name: [*(one for one in head if not re.fullmatch(r"e([2-9]|\d\d+)", one)), "*"] for name, head in heads.items()
    }
    return found | {"vectors.npz": sorted(np.load("vectors.npz")), "own.pt2": sorted(json.loads(notes["fc7.json"]))}


def keys(answer, levels):
    """Return the keys of an answer, of lists those of their first item."""
    answer = answer[0] if isinstance(answer, list) and answer else answer
    if not isinstance(answer, dict) or not levels:
        return
    for key, value in answer.items():
        yield key
        if key != "options":  # by name of the option: see the command line
            yield from (f"{key}.{inner}" for inner in keys(value, levels - 1))


def parameters(value):
    """Return the parameters of a function or class, in their order; those by name alone after a star, sorted."""
    try:
        given = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return []
    by_place = [one.name for one in given if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return [*by_place, "*", *sorted(one.name for one in given if one.kind is one.KEYWORD_ONLY)]


def methods(value):
    """Return the public methods of a class that are fc7's own, with their parameters."""
    own = {name for base in value.__mro__ if base.__module__.startswith("fc7.") for name in vars(base)}
    public = sorted(name for name in own if not name.startswith("_"))
    return {name: parameters(getattr(value, name)) if callable(getattr(value, name)) else [] for name in public}


def fields(schema, name=""):
    """Return the fields of a JSON schema with their types, the inner ones too, and those that must be there."""
    found = {f"{name} must have": sorted(schema["required"])} if schema.get("required") else {}
    for key, inner in schema.get("properties", {}).items():
        path = f"{name}.{key}" if name else key
        found[path] = inner.get("type", inner.get("enum", ""))
        found |= fields(inner, path) | fields(inner.get("items", {}), f"{path}[]")
    return found


def promised():
    """Return all of it."""
    public = {f"{door.__name__}.{name}": getattr(door, name) for door in DOORS for name in door.__all__}
    errors = [value for value in vars(fc7.errors).values() if isinstance(value, type)]
    said, written = answers_and_files()
    schema = json.loads((Path(fc7.__file__).parent / "classify" / "records" / "run.schema.json").read_text("utf-8"))
    return {
        "command line": options(cli.parser()),
        "python": {
            door.__name__: {name: parameters(getattr(door, name)) for name in sorted(door.__all__)} for door in DOORS
        },
        "errors": {error.__name__: error.exit_code for error in errors if issubclass(error, fc7.errors.FC7Error)},
        "formats": {"cache": VERSION, "bundle": FORMAT, "record": RECORD},
        "answers": said,
        "files": written,
        "heads": sorted(HEADS),
        "environment": sorted(ENVIRONMENT | ENVIRONMENT_OF_JOBS),
        "methods": {name: methods(value) for name, value in sorted(public.items()) if isinstance(value, type)},
        "record": fields(schema),
    }


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(promised(), indent=1) + "\n", encoding="utf-8")
