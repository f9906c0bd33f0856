"""What a record says of how it was made, in words, and what tells runs of one name apart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...cache.tables import counted
from ...extract.text import few
from ..pages.text import value, without_folders
from ..settings import PREPARED
from .edges import edge_notes
from .fold_fit import FoldFit, ranges
from .runs import Run

UNWEIGHTED = "fitted without class weights: it has none"  # the note of a head that was asked to take some
TAKES_NONE = ", as it takes none"


def labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return what each run is called beside the others, by id: its name, and where others have it, (what differs).

    What the settings do not tell apart gets the start of its id.
    """
    texts: dict[str, str] = {}
    for name in dict.fromkeys(run.name for run in runs):
        members = [run for run in runs if run.name == name]
        differing = differences(members)
        texts |= {run.id: f"{name} ({', '.join(differing[run.id])})" if differing[run.id] else name for run in members}
    count = Counter(texts.values())
    alike = [identity for identity, text in texts.items() if count[text] > 1]
    digits = next(number for number in range(6, 65) if len({name[:number] for name in alike}) == len(alike))
    return {identity: text if count[text] == 1 else f"{text} #{identity[:digits]}" for identity, text in texts.items()}


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings of each run that not all of the runs share, by id."""
    shared = _agreed(runs)
    return {run.id: [text for name, text in settings(run).items() if text and name not in shared] for run in runs}


def remarks(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return what stands beside each run, by id: its notes, and the settings that not all share.

    What its label, its settings or its recipe says is left out.
    """
    names, differing = labels(runs), differences(runs)
    return {
        run.id: [note for note in notes(run) if note != UNWEIGHTED]
        + [text for text in differing[run.id] if text not in names[run.id] and not text.startswith("weights ")]
        for run in runs
    }


def settings(run: Run) -> dict[str, str]:
    """Return how a run was made, in words by name; what the record does not say is left out."""
    done, folds = run.protocol, fold_fits(run)
    leaks, views = done.get("leaked"), done.get("views")
    inner = [fold.inner_folds for fold in folds if fold.inner_folds]
    tuned = run.hyperparameters if run.trainable else {}  # given, and not searched for
    source, data = without_folders(run.weights_source), str(run.data.get("fingerprint", ""))
    texts = {
        "record": "of an earlier fc7" if run.old else "",
        "evaluated": f"evaluated {on(run)}",
        "fitted": _fitted(folds) if folds else None,
        "leaked": None if leaks is None else f"{leaks or 'no'} leaked images",
        "class_weight": _class_weights(done["class_weight"], run.notes) if "class_weight" in done else None,
        "preparation": PREPARED.get(done.get("preparation", "")),
        "views": f"{counted(views, 'more view')}{', averaged' if done.get('average_views') else ''}" if views else "",
        "resize": _resizing(run.recipe),
        "augment": {True: "random crops and mirror images", False: "centre crops only"}.get(done.get("augment", "")),
        "epochs": counted(tuned["epochs"], "epoch") if "epochs" in tuned else None,
        "learning_rate": f"learning rate {value(tuned['learning_rate'])}" if "learning_rate" in tuned else None,
        "batch_size": f"batches of {tuned['batch_size']}" if "batch_size" in tuned else None,
        "optimiser": f"optimiser {tuned['optimiser']}" if "optimiser" in tuned else None,
        "device": f"device {without_folders(str(done['device']))}" if "device" in done else None,
        "inner_folds": f"choices in {_range(inner)} folds" if inner else None,
        "random_state": f"seed {done['random_state']}" if "random_state" in done else None,
        "weights": f"weights {source}" if source else None,
        "data": f"data {data[:6]}" if data else None,
    }
    return {name: text for name, text in texts.items() if text is not None}


def data_name(run: Run) -> str:
    """Return what the data set of a run is called; empty if its record does not say."""
    return without_folders(str(run.data.get("name") or ""))


def on(run: Run) -> str:
    """Return what a run was evaluated on, as it was done: ``on val``, or ``in 5-fold cross-validation``."""
    planned = str(run.data["evaluated"])
    if len(run.folds) > 1:
        return f"in {len(run.folds)}-fold cross-validation"
    if "cross-validation" in planned:
        return f"in {'cross-validation, its number of folds unknown' if run.old else planned}"
    return f"on {planned}"


def protocol(runs: Sequence[Run]) -> str:
    """Return in one sentence how runs on the same images were made, as far as they agree.

    What tells weights and data apart is in the provenance, and not said here.
    """
    runs = _own(runs)
    places = dict.fromkeys(on(run) for run in runs)
    elsewhere = {"record", "evaluated", "weights", "data"} | (set() if leaked(runs) else {"leaked"})
    shared = {name: text for name, text in _agreed(runs).items() if name not in elsewhere}
    kinds = {"heads": [run for run in runs if not run.trainable], "fine-tuning": [run for run in runs if run.trainable]}
    said = {kind: {name for run in members for name in settings(run)} for kind, members in kinds.items() if members}
    texts = [text for name, text in shared.items() if all(name in names for names in said.values())]
    for kind, names in said.items():  # what only one kind has
        own = [text for name, text in shared.items() if text and name in names and text not in texts]
        texts += [f"{kind}: {', '.join(own)}"] if own else []
    unknown = ["what else was done is unknown"] if all(run.old for run in runs) else []
    where = f"Evaluated {' and '.join(places)}: {runs[0].count}"
    return "; ".join(filter(None, [where, *texts, *unknown])) + "."


def titles(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return what groups of runs on the same images are called: ``ants_bees on val, 153 images``."""
    texts = []
    for runs in groups:
        names = dict.fromkeys(data_name(run) for run in runs)
        places = dict.fromkeys(on(run) for run in _own(runs))
        what = " ".join(filter(None, [few([name for name in names if name]), " and ".join(places)]))
        texts.append(f"{what}, {runs[0].count}")
    count = Counter(texts)
    return [
        text if count[text] == 1 else f"{text} #{runs[0].images[:6]}" for text, runs in zip(texts, groups, strict=True)
    ]


def leaked(runs: Sequence[Run]) -> int:
    """Return how many of the images that runs evaluated were fitted on, too; the most of any."""
    return max((int(run.protocol.get("leaked", 0)) for run in runs), default=0)


def chosen(run: Run) -> dict[str, Any]:
    """Return the hyper-parameters by name; of several folds, their range: ``0.01 to 1``."""
    folds = fold_fits(run)
    return run.hyperparameters | (ranges(folds) if len(folds) > 1 else {})


def notes(run: Run) -> list[str]:
    """Return what a reader must know."""
    texts = ["record of an earlier fc7: what was done and predicted is unknown"] if run.old else []
    texts += ["vectors made elsewhere, recipe unknown"] if "elsewhere" in run.recipe else []
    if leaked([run]):
        images = counted(leaked([run]), "evaluated image is", "evaluated images are")
        texts.append(f"optimistic: {images} fitted on, too")
    return texts + run.notes + edge_notes(run, fold_fits(run))


def fold_fits(run: Run) -> list[FoldFit]:
    """Return the fits of a run; none for old records and for predictions from elsewhere."""
    return [FoldFit(**fold) for fold in run.folds]


def _agreed(runs: Sequence[Run]) -> dict[str, str]:
    """Return the settings that are the same in all runs that have them."""
    every = [settings(run) for run in runs]
    names = dict.fromkeys(name for own in every for name in own)
    values = {name: {own[name] for own in every if name in own} for name in names}
    return {name: found.pop() for name, found in values.items() if len(found) == 1}


def _fitted(folds: Sequence[FoldFit]) -> str:
    fitted = f"fitted on {_range([fold.fitted for fold in folds])}"
    if len(folds) == 1:
        return f"{fitted} images"
    evaluated = _range([fold.evaluated for fold in folds])
    return f"{fitted} and evaluated on {evaluated} image{'s' * (evaluated != '1')} in each fold"


def _own(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that fc7 made; all of them if it made none."""
    return [run for run in runs if not run.elsewhere] or list(runs)


def _class_weights(weights: Any, notes: Sequence[str]) -> str:
    if not weights:
        return "no class weights" + (TAKES_NONE if UNWEIGHTED in notes else "")
    if isinstance(weights, dict):
        return f"class weights {few([f'{name} {value(weight)}' for name, weight in weights.items()])}"
    return f"class weights {weights}"


def _resizing(recipe: Mapping[str, Any]) -> str:
    """Return how images were resized where that is not the usual crop."""
    parts = recipe.get("parts", [recipe])
    modes = dict.fromkeys(part["transform"].get("resize_mode", "crop") for part in parts if "transform" in part)
    return "" if set(modes) <= {"crop"} else f"resize {' + '.join(modes)}"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
