"""Twenty folders of run records whose truth is known: what was compared, who won, how sure.

    python tests/report_folders.py OUT

writes a page and what the terminal says for each, OUT/NN/index.html and OUT/NN/terminal.txt, and OUT/truth.md.

Rows are made so that the best possible accuracy of each backbone is known: a class has its mean at plus or minus
`signal` on one axis, in noise of variance one, so a head gets the share Phi(signal) right. Fine-tuned runs and those
from elsewhere are made from a head's answers, with so many of its mistakes put right and so many new ones.
"""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fc7.cache import Embeddings, Recipe
from fc7.classify import compare
from fc7.classify.records.fold_fit import FoldFit
from fc7.classify.records.outcome import Evaluated

GOOD, FAIR, POOR = 2.2, 1.0, 0.3  # signals: 99, 84 and 62 % right
HEADS = ["logreg", "ridge", "centroid"]
CLASSES = ("ants", "bees")


@dataclass(frozen=True)
class Folder:
    """What a folder holds, and the truth about it.

    Attributes
    ----------
    runs
        Makes the records.
    question
        What the headline of each set of images is about, see :class:`fc7.classify.records.contest.Contest`.
    won, lost, tied
        What the chosen side of the headline truly beats, is beaten by, and is as good as, of each set of images.
    compared, winner, sure
        The truth for a reader.
    """

    runs: Callable[[], list]
    question: tuple[str, ...]
    won: tuple[tuple[str, ...], ...]
    lost: tuple[tuple[str, ...], ...]
    tied: tuple[tuple[str, ...], ...]
    compared: str
    winner: str
    sure: str
    words: tuple[str, ...] = field(default=())


# Images and their rows


@dataclass(frozen=True)
class Images:
    """Labels, groups and what makes each image hard."""

    name: str
    y: np.ndarray
    split: np.ndarray
    group: np.ndarray
    keys: np.ndarray
    hard: np.ndarray


def images(train=120, val=240, *, name="made", groups=0, rare=0.5, seed=0, first=0):
    """Return images; without `val` there is no split. Of `groups`, images of one are alike."""
    generator, n = np.random.default_rng([seed, train, val]), train + val
    y = (generator.random(n) < rare).astype(int)
    hard = generator.standard_normal(n)
    group = np.full(n, "")
    if groups:
        number = np.arange(n) * groups // n
        y = (np.arange(groups) % 2)[number]
        hard = np.sqrt(0.5) * (hard + generator.standard_normal(groups)[number])
        group = np.array([f"g{value}" for value in number])
    split = np.where(np.arange(n) < train, "train", "val") if val else np.full(n, "")
    if groups and val:
        split = np.where(number < groups // 3, "train", "val")
    keys = np.array([list(hashlib.sha256(f"{name} {first + place}".encode()).digest()) for place in range(n)], np.uint8)
    return Images(name, y, split, group, keys, hard)


def part(shown, keep):
    """Return some of the images."""
    rows = {name: getattr(shown, name)[keep] for name in ("y", "split", "group", "keys", "hard")}
    return replace(shown, **rows)


def rows(shown, backbone, signal, *, layer="gap", noise=6, seed=0, own=0.0, xor=False, source="torchvision"):
    """Return embeddings of which a head gets the share Phi(`signal`) right; `own` of the noise is this backbone's."""
    generator = np.random.default_rng([seed, len(shown.y), *backbone.encode()])
    side, n = 2 * shown.y - 1, len(shown.y)
    hard = np.sqrt(1 - own) * shown.hard + np.sqrt(own) * generator.standard_normal(n)
    vectors = np.column_stack([signal * side + hard, 0.5 * generator.standard_normal((n, noise))])
    if xor:  # no plane parts the classes, neighbours do
        corner = generator.integers(0, 2, n) * 2 - 1
        vectors[:, :2] = 3 * np.column_stack([corner, corner * side]) + generator.standard_normal((n, 2))
    turn = np.linalg.qr(generator.standard_normal((vectors.shape[1],) * 2))[0]
    numbers = range(n)
    return Embeddings(
        vectors=(vectors @ turn).astype(np.float32),
        labels=np.array(CLASSES)[shown.y],
        paths=np.array(
            [
                f"{CLASSES[label]}/{shown.keys[place].tobytes().hex()[:8]}.jpg"
                for place, label in zip(numbers, shown.y, strict=True)
            ]
        ),
        split=shown.split.astype(np.str_),
        group=shown.group.astype(np.str_),
        sha256=shown.keys,
        classes=CLASSES,
        recipe=Recipe(backbone, layer, vectors.shape[1], hashlib.sha256(source.encode()).hexdigest(), dtype="float32"),
        weights_source=source,
        seconds=20.0,
        name=shown.name,
    )


def fitted(*tables, heads=HEADS, **settings):
    """Return the records of heads on these rows."""
    return list(compare(list(tables), heads, learning_curve=False, folds=3, preparation="scale", **settings))


def other(like, name, *, mended, broken, seconds=400.0, seed=0):
    """Return a run with a head's answers, of which `mended` mistakes are put right and `broken` answers made wrong.

    A fine-tuned one if `name` is an arm, else one from elsewhere.
    """
    generator, right = np.random.default_rng(seed), like.right
    wrong, good = np.flatnonzero(~right), np.flatnonzero(right)
    predicted = np.asarray(like.predictions["predicted"]).copy()
    turned = [*generator.permutation(wrong)[:mended], *generator.permutation(good)[:broken]]
    predicted[turned] = 1 - predicted[turned]
    probability = np.where(np.arange(2) == predicted[:, None], 0.8, 0.2)
    tuned = name in ("head", "classifier", "all")
    settings = {"folds": [FoldFit(120, len(predicted), 0.3, 0.9, 1.0, held_out=20, epochs=12, best_epoch=5)]}
    settings |= {"selection": {"log_loss": 0.3, "accuracy": 0.9}, "protocol": {"device": "cpu", "augment": True}}
    return Evaluated.of_run(like).run(
        id=hashlib.sha256(f"{name} {seed} {like.id}".encode()).hexdigest(),
        head="" if tuned else name,
        trainable=name if tuned else "",
        recipe={"backbone": like.recipe["backbone"], "layer": "pixels"}
        if tuned
        else {"backbone": "elsewhere", "layer": ""},
        weights_source="torchvision" if tuned else "",
        probability=probability,
        predicted=predicted,
        hyperparameters={"learning_rate": 0.003, "epochs": 12, "batch_size": 32, "optimiser": "sgd"} if tuned else {},
        seconds={"extract": 0.0, "fit": seconds if tuned else 0.0, "predict": 1.0 if tuned else 0.0},
        notes=[] if tuned else [f"from {name}.csv"],
        **(settings if tuned else {}),
    )


def best(runs):
    """Return the head with the least log loss on the fitted images."""
    heads = [run for run in runs if run.head not in ("", "baseline") and not run.elsewhere]
    return min(heads, key=lambda run: run.selection["log_loss"])


# The folders


def one_backbone():
    return fitted(rows(images(seed=1), "vgg16", FAIR, own=0.2))


def neighbours_win():
    return fitted(rows(images(), "vgg16", POOR, noise=2, xor=True), heads=["knn", "logreg", "ridge"])


def three_backbones():
    shown = images()
    return fitted(
        *(
            rows(shown, name, signal, own=0.3)
            for name, signal in (("alexnet", POOR), ("vgg16", GOOD), ("resnet18", FAIR))
        )
    )


def two_alike_one_worse():
    shown = images(val=300)
    return fitted(
        *(
            rows(shown, name, signal, own=0.1)
            for name, signal in (("alexnet", POOR), ("vgg16", FAIR), ("resnet18", FAIR))
        )
    )


def backbones_in_groups():
    shown = images(100, 400, groups=90)
    return fitted(*(rows(shown, name, signal, own=0.5) for name, signal in (("alexnet", 0.0), ("vgg16", GOOD))))


def alike_in_few_groups():
    shown = images(60, 240, groups=24)
    return fitted(*(rows(shown, name, FAIR, own=0.3) for name in ("alexnet", "vgg16")))


def layers():
    shown = images()
    return fitted(rows(shown, "vgg16", GOOD, layer="gap"), rows(shown, "vgg16", POOR, layer="fc7", own=0.5, seed=1))


def arms_beaten():
    runs = fitted(rows(images(), "vgg16", GOOD))
    return [*runs, *(other(best(runs), arm, mended=0, broken=number) for arm, number in (("head", 30), ("all", 60)))]


def one_arm_wins():
    runs = fitted(rows(images(val=300), "vgg16", FAIR))
    chosen = best(runs)
    return [*runs, other(chosen, "head", mended=0, broken=60), other(chosen, "all", mended=40, broken=2)]


def an_arm_as_good():
    runs = fitted(rows(images(), "vgg16", FAIR))
    return [*runs, other(best(runs), "all", mended=8, broken=7)]


def elsewhere_wins():
    runs = fitted(rows(images(), "vgg16", POOR))
    return [*runs, other(best(runs), "theirs", mended=70, broken=10)]


def elsewhere_twice():
    runs = fitted(rows(images(), "vgg16", GOOD))
    return [
        *runs,
        other(best(runs), "old tool", mended=0, broken=50),
        other(best(runs), "new tool", mended=2, broken=3, seed=1),
    ]


def grown_with_a_split():
    shown = images(train=240)
    few = part(shown, np.r_[0:12, 240:480])
    runs = [
        fitted(rows(sample, "vgg16", FAIR, noise=60, own=0.2), heads=["logreg", "centroid"]) for sample in (few, shown)
    ]
    return [run for several in runs for run in several]


def grown_without_a_split():
    shown = images(train=400, val=0)
    few = part(shown, np.arange(150))
    runs = [
        fitted(*(rows(sample, name, signal) for name, signal in (("alexnet", POOR), ("vgg16", GOOD))))
        for sample in (few, shown)
    ]
    return [run for several in runs for run in several]


def two_data_sets():
    first, second = images(name="wasps", seed=1), images(name="moths", seed=2, val=200)
    signals = {"wasps": (POOR, GOOD), "moths": (GOOD, POOR)}
    runs = [
        fitted(
            *(
                rows(shown, name, signal, own=0.3)
                for name, signal in zip(("alexnet", "vgg16"), signals[shown.name], strict=True)
            )
        )
        for shown in (first, second)
    ]
    return [run for several in runs for run in several]


def leaky():
    shown = images()
    keys = shown.keys.copy()
    keys[120:180] = keys[:60]  # a quarter of the judged images are training images
    y, hard = shown.y.copy(), shown.hard.copy()
    y[120:180], hard[120:180] = y[:60], hard[:60]
    shown = replace(shown, keys=keys, y=y, hard=hard)
    return fitted(
        *(rows(shown, name, signal, own=0.0) for name, signal in (("alexnet", POOR), ("vgg16", GOOD))),
        allow_leakage=True,
    )


def folds_and_backbones():
    shown = images(train=300, val=0)
    return fitted(
        *(
            rows(shown, name, signal, own=0.2)
            for name, signal in (("alexnet", POOR), ("vgg16", FAIR), ("resnet18", FAIR))
        )
    )


def weights():
    shown = images(train=300, val=400, rare=0.08)
    table = rows(shown, "vgg16", FAIR)
    return [*fitted(table), *fitted(table, class_weight="balanced")]


def repeated():
    shown = images()
    tables = [rows(shown, name, signal, own=0.3) for name, signal in (("alexnet", POOR), ("vgg16", GOOD))]
    return [run for seed in range(3) for run in fitted(*tables, random_state=seed)]


def everything():
    shown = images(150, 450, groups=120)
    tables = [rows(shown, name, signal, own=0.4) for name, signal in (("alexnet", 0.0), ("vgg16", GOOD))]
    runs = [*fitted(*tables), *fitted(*tables, class_weight="balanced")]
    chosen = best(runs)
    return [*runs, other(chosen, "all", mended=2, broken=200), other(chosen, "theirs", mended=1, broken=2)]


ALIKE, CLEAR = "no winner", "clear: a test finds it, corrected for all comparisons"
FOLDERS = {
    "01 one backbone": Folder(
        one_backbone,
        ("heads",),
        ((),),
        ((),),
        (("logreg", "ridge", "centroid"),),
        "three heads (logreg, ridge, centroid) on one backbone, vgg16, on the same 240 held-out images",
        "nobody",
        ALIKE,
    ),
    "02 one backbone, one head better": Folder(
        neighbours_win,
        ("heads",),
        (("logreg", "ridge"),),
        ((),),
        ((),),
        "three heads on one backbone, vgg16; the chosen one, knn, against the other two",
        "knn",
        CLEAR,
    ),
    "03 several backbones": Folder(
        three_backbones,
        ("backbones",),
        (("alexnet", "resnet18"),),
        ((),),
        ((),),
        "the best head of each of three backbones",
        "vgg16",
        CLEAR,
    ),
    "04 several backbones, two alike": Folder(
        two_alike_one_worse,
        ("backbones",),
        (("alexnet",),),
        ((),),
        (("vgg16", "resnet18"),),
        "the best head of each of three backbones",
        "vgg16 and resnet18 are alike, alexnet is worse",
        "alexnet is beaten; between the two others no winner",
    ),
    "05 several backbones, groups": Folder(
        backbones_in_groups,
        ("backbones",),
        (("alexnet",),),
        ((),),
        ((),),
        "the best head of each of two backbones, on images in 60 groups",
        "vgg16",
        CLEAR,
    ),
    "06 few groups": Folder(
        alike_in_few_groups,
        ("backbones",),
        ((),),
        ((),),
        (("alexnet", "vgg16"),),
        "the best head of each of two backbones, on images in 16 groups",
        "nobody",
        f"{ALIKE}; so few groups show little",
    ),
    "07 layers": Folder(
        layers,
        ("layers",),
        (("vgg16 fc7",),),
        ((),),
        ((),),
        "the best head of each of two layers of one backbone",
        "vgg16 gap",
        CLEAR,
    ),
    "08 fine-tuning beaten": Folder(
        arms_beaten,
        ("arms",),
        (("vgg16 finetune head", "vgg16 finetune all"),),
        ((),),
        ((),),
        "the cached head against two fine-tuning arms",
        "the cached head, against both",
        CLEAR,
    ),
    "09 one arm wins": Folder(
        one_arm_wins,
        ("arms",),
        (("vgg16 finetune head",),),
        (("vgg16 finetune all",),),
        ((),),
        "the cached head against two fine-tuning arms",
        "fine-tuning of all layers",
        f"{CLEAR}; the arm `head` is beaten by the cached head",
    ),
    "10 an arm as good": Folder(
        an_arm_as_good,
        ("arms",),
        ((),),
        ((),),
        (("vgg16 finetune all",),),
        "the cached head against one fine-tuning arm",
        "nobody",
        ALIKE,
    ),
    "11 from elsewhere, better": Folder(
        elsewhere_wins,
        ("arms",),
        ((),),
        (("elsewhere theirs",),),
        ((),),
        "the cached head against predictions from elsewhere",
        "the predictions from elsewhere (theirs)",
        CLEAR,
        ("only if no image judged was among those that “theirs” (from elsewhere) was fitted on",),
    ),
    "12 from elsewhere, two": Folder(
        elsewhere_twice,
        ("arms",),
        (("elsewhere old tool",),),
        ((),),
        (("elsewhere new tool",),),
        "the cached head against predictions of two other tools",
        "the cached head against the old tool; against the new tool nobody",
        "the old tool is beaten; the new tool and the head cannot be told apart",
        ("among those that “old tool” (from elsewhere) and “new tool” (from elsewhere) were fitted on",),
    ),
    "13 grown data, same held-out images": Folder(
        grown_with_a_split,
        ("data",),
        (("12 images",),),
        ((),),
        ((),),
        "heads fitted on 240 images against heads fitted on 12 of them, on the same held-out images",
        "240 images",
        CLEAR,
        (
            "judged on the same 240 other images",
            "among the 2 heads that were fitted on the most images",
            "whether the 12 images are among the 240 images is not known here",
        ),
    ),
    "14 grown data, no split": Folder(
        grown_without_a_split,
        ("backbones", "backbones"),
        (("alexnet",), ("alexnet",)),
        ((), ()),
        ((), ()),
        "two backbones, on 400 images and before on 150 of them, each by itself",
        "vgg16, on both",
        CLEAR,
        (
            "All of these images are in",
            "results are not independent",
            "share half of the images",
        ),
    ),
    "15 two data sets": Folder(
        two_data_sets,
        ("backbones", "backbones"),
        (("alexnet",), ("vgg16",)),
        ((), ()),
        ((), ()),
        "two backbones, on each of two data sets by itself",
        "vgg16 on wasps, alexnet on moths",
        CLEAR,
    ),
    "16 leakage allowed": Folder(
        leaky,
        ("backbones",),
        (("alexnet",),),
        ((),),
        ((),),
        "two backbones, on images of which 60 were fitted on, too",
        "vgg16, on these images",
        "optimistic: nothing follows for new images",
        (
            "gets more right than",
            "60 of them fitted on, too: this says nothing of new images",
            "Nothing here holds for new images",
        ),
    ),
    "17 backbones in folds": Folder(
        folds_and_backbones,
        ("backbones",),
        (("alexnet",),),
        ((),),
        (("vgg16", "resnet18"),),
        "the best head of each of three backbones, cross-validated",
        "vgg16 and resnet18 are alike, alexnet is worse",
        "alexnet is beaten; between the two others no winner",
        (
            "which can flatter it",
            "Chosen anew in each fold among these 9",
            "that is what to expect of such a choice on new images",
        ),
    ),
    "18 weights of classes": Folder(
        weights,
        ("settings",),
        (("class weights balanced",),),
        ((),),
        ((),),
        "heads with balanced class weights against heads without class weights",
        "no class weights by accuracy, balanced ones by balanced accuracy",
        CLEAR,
        (
            "On 400 images, the best head with no class weights gets more right in all",
            "the best head with class weights balanced more in the mean over the classes (balanced accuracy",
        ),
    ),
    "19 repeated": Folder(
        repeated,
        ("backbones",),
        (("alexnet",),),
        ((),),
        ((),),
        "two backbones, each run with three seeds; the first seed of each is compared",
        "vgg16",
        CLEAR,
        ("3 seeds",),
    ),
    "20 everything": Folder(
        everything,
        ("arms",),
        (("vgg16 finetune all",),),
        ((),),
        (("elsewhere theirs",),),
        "the cached head against fine-tuning and predictions from elsewhere; besides, two backbones; images in groups",
        "the head, against fine-tuning; nobody, against the predictions from elsewhere; vgg16, of the backbones",
        "as said",
        (
            "est head on vgg16 beats the best head on alexnet",
            "Not all were fitted on as many images",
            "on 200; vgg16 finetune all on 120",
            "only if no image judged was among those that “theirs”",
        ),
    ),
}


def main(out):
    """Write the pages, what the terminal says, and the truth."""
    from fc7.classify.commands.tables import runs_table
    from fc7.classify.reports.report import report

    truth = ["# The truth about the pages\n"]
    for name, folder in FOLDERS.items():
        runs, place = folder.runs(), out / name[:2]
        place.mkdir(parents=True, exist_ok=True)
        for run in runs:
            run.save(place / "runs")
        report(place / "runs", place / "index.html")
        (place / "terminal.txt").write_text(runs_table(runs) + "\n")
        truth.append(f"## {name}\n\n- compared: {folder.compared}\n- won: {folder.winner}\n- how sure: {folder.sure}\n")
    (out / "truth.md").write_text("\n".join(truth))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
