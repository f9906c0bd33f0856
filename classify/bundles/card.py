"""The card of a bundle: a README.md with the front matter that model hubs read, for who finds the file without you."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...cache.files import read_regular
from ...cache.output_file import OutputFile
from ...cache.recipe import ForeignRecipe
from ...errors import BundleError
from ...extract.text import plain, storable
from ..records.runs import Run
from .bundle import Bundle

NAME = "README.md"
_MARK = 'library_name: "fc7"'
_NO_ASCII = re.compile("[^ -~]")
_FEW = 200  # classes that are named one by one
# Licences by the names that hubs have for them; another one is ``other``, with its name.
_LICENCES = frozenset(
    [
        "apache-2.0",
        "mit",
        "bsd-3-clause",
        "bsd-2-clause",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc0-1.0",
        "openrail",
        "gpl-3.0",
        "lgpl-3.0",
        "agpl-3.0",
        "mpl-2.0",
    ]
)


def card_of(bundle: Path) -> OutputFile:
    """Return the card beside a bundle, to be written later; raises BundleError if there is another README.md."""
    path = bundle.parent / NAME
    if path.exists() and _MARK not in read_regular(path).decode(errors="replace"):
        raise BundleError(f"{path} is not a card that fc7 wrote, and stays. Write the bundle into another folder.")
    return OutputFile(path, BundleError)


def write_card(output: OutputFile, bundle: Bundle, run: Run, file: Path) -> Path:
    """Write the card of a bundle and return its path."""
    return output.write(storable(card(bundle, run, file)).encode())


def card(bundle: Bundle, run: Run, file: Path) -> str:
    """Return the card as Markdown with front matter."""
    # JSON is YAML, too, but for letters that JSON escapes as two halves.
    fields = {name: json.dumps(value, ensure_ascii=False) for name, value in _front_matter(run, file).items()}
    matter = "\n".join(f"{name}: {_NO_ASCII.sub(_escaped, text)}" for name, text in fields.items())
    return f"---\n{matter}\n---\n\n{_body(bundle, run, file)}"


def _front_matter(run: Run, file: Path) -> dict[str, Any]:
    licence = run.licence.lower()
    matter: dict[str, Any] = {"license": licence if licence in _LICENCES else "other" if licence else "unknown"}
    if matter["license"] == "other":
        matter["license_name"] = run.licence
    backbone = run.recipe["backbone"]
    if backbone.startswith("timm:"):
        matter["base_model"] = f"timm/{backbone.removeprefix('timm:')}"
    kinds = {"accuracy": "accuracy", "macro_f1": "f1"}
    metrics = [{"type": kind, "value": run.metrics[name], "name": name} for name, kind in kinds.items()]
    data = {"name": plain(run.data.get("name") or "own images"), "type": "image-folder", "split": run.data["evaluated"]}
    result = {"task": {"type": "image-classification"}, "dataset": data, "metrics": metrics}
    return matter | {
        "library_name": "fc7",
        "pipeline_tag": "image-classification",
        "tags": ["fc7", "linear-probe", "transfer-learning"],
        "metrics": list(kinds.values()),
        "model-index": [{"name": plain(file.stem), "results": [result]}],
    }


def _body(bundle: Bundle, run: Run, file: Path) -> str:
    low, high = run.metrics["interval"]
    classes = [f"- {_text(name)}" for name in bundle.classes[:_FEW]]
    if len(bundle.classes) > _FEW:
        classes.append(f"- and {len(bundle.classes) - _FEW:,} more")
    about, use, licence = _of_vectors(run, file) if isinstance(bundle.recipe, ForeignRecipe) else _of_images(run, file)
    lines = [
        f"# {_text(file.stem)}",
        f"A head ({_text(run.head)}) on {about}",
        "## Use",
        use,
        "## Figures",
        f"Accuracy {run.metrics['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}), balanced accuracy "
        f"{run.metrics['balanced_accuracy']:.3f}, of {run.count}, {_text(run.data['evaluated'])}. Hyper-parameters "
        "were chosen inside the fitted images.",
        "## Licence",
        f"{licence} The pictures and the head are yours: say theirs here.",
        "## Notes",
        "\n".join(f"- {_text(note)}" for note in [*run.notes, *_answers(bundle)]) or "None.",
        "## Classes",
        "\n".join(classes),
    ]
    return "\n\n".join(lines) + "\n"


def _of_images(run: Run, file: Path) -> tuple[str, str, str]:
    """Return what the head is fitted on, how it is used, and under what licence that is."""
    recipe: Mapping[str, Any] = run.recipe
    return (
        f"frozen embeddings of {_text(recipe['backbone'])}, layer {_text(recipe['layer'])}, written by fc7. The file "
        "holds the head alone; the backbone and its weights are found by their hash.",
        f"```console\n$ fc7 predict {shlex.quote(plain(file.name)).replace('`', '')} IMAGE...\n```",
        f"Weights of the backbone ({_text(run.weights_source)}): "
        f"{_text(run.licence or 'not stated by who publishes them')}. The licence above is that of these weights, "
        "which what is made from them may have to keep.",
    )


def _of_vectors(run: Run, file: Path) -> tuple[str, str, str]:
    """Return the same of a head on vectors that fc7 cannot make of new images."""
    name = json.dumps(plain(file.name), ensure_ascii=False).replace("`", "")
    return (
        f"vectors of {_text(run.recipe['backbone'])} that were made elsewhere, written by fc7. The file holds the head "
        "alone, and takes vectors that were made in the same way.",
        f"```python\nfrom fc7.classify import Bundle\n\nBundle.load({name}).predict_proba(vectors)\n```",
        "What made the vectors is not known, nor is its licence.",
    )


def _escaped(letter: re.Match[str]) -> str:
    return f"\\U{ord(letter[0]):08x}"


def _answers(bundle: Bundle) -> list[str]:
    """Return by what the file answers, where that is not the most probable class."""
    said = [f"It {bundle.threshold}."] if bundle.threshold else []
    costs = ["It answers with the class of least expected cost, by the costs in the file."] if bundle.costs else []
    return said + costs


def _text(text: str) -> str:
    """Return text that is no Markdown and no HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*[]<>#|!" else letter for letter in plain(text))
