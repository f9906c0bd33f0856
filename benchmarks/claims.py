"""What fc7's statistics promise, simulated: coverage of intervals, false winners, power, abstention, sets of classes.

    python benchmarks/claims.py [--quick] [--only NAME] [--jobs N] [--json FILE] [--write docs/statistics.md]

Every row is a claim of docs/statistics.md or docs/predict.md with the worst case of what was simulated, and where that
was. What is simulated, and how, is in simulations.py and simulated_splits.py.
`--quick` has 200 data sets a case, which have a standard error of 1.5 points at 0.95, so the worst of 18 cases is
often below what holds; the full run has 2,000 of images as they are, and 1,000 of fitted heads. The coverage of
accuracies of images without groups is not simulated but summed over all counts, for every accuracy from 0.5 on in steps
of 0.001.
"""

import argparse
import json
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from simulated_splits import stable
from simulations import (
    SIZES,
    accuracy_coverage,
    choices,
    class_means_coverage,
    cross_validated,
    difference_coverage,
    family,
    mean_cost_coverage,
    power_said,
    promises,
    restart,
)

from fc7.classify.evaluation.effective_size import ALPHA


def worst(found, column, pick=min):
    """Return the worst value of a column, and where it is."""
    value, where = pick((row[column], row[0]) for row in found)
    return float(value), where


def class_claims(repeats):
    """Yield the claims on means over classes."""
    found = list(class_means_coverage(2 * repeats))
    for column, what, least in (1, "balanced accuracy", 0.93), (2, "macro F1", 0.90):
        value, where = worst(found, column)
        yield f"split, unequal classes: interval holds the {what}", f">= {least:.2f}", value, value >= least, where


def costs(n, repeats):
    """Yield the claims of the mean cost."""
    *found, (_, rare) = mean_cost_coverage(n, 2 * repeats)
    value, where = worst(found, 1)
    yield f"split, {n} images: interval holds the mean cost", ">= 0.93", value, value >= 0.93, where
    about = f"split, {n} images, {n // 10} of a costly class: interval holds the mean cost (no promise)"
    yield about, "", rare, True, ""


def split(groups, size, repeats):
    """Yield the claims of a split: what each is about, what is asked, what was simulated, whether it holds, where."""
    about = f"split, {groups} images" if size == 1 else f"split, {groups} groups of {size}"
    value, where = worst(list(accuracy_coverage(groups, size, 2 * repeats)), 1)
    yield f"{about}: interval holds the accuracy", ">= 0.93", value, value >= 0.93, where
    found = list(difference_coverage(groups, size, 2 * repeats))
    value, where = worst(found, 1)
    yield f"{about}: interval holds the difference", ">= 0.93", value, value >= 0.93, where
    value, where = worst(found, 2, max)
    yield f"{about}: false winner", "<= 0.06", value, value <= 0.06, where


def several(images, others, repeats):
    """Yield the claims of a chosen run that is compared with several."""
    found, about = list(family(images, others, 2 * repeats)), f"split, {images} images, {others} comparisons"
    value, where = worst(found, 1)
    yield f"{about}: interval holds the difference", ">= 0.93", value, value >= 0.93, where
    value, where = worst(found, 2, max)
    yield f"{about}: a false winner among them", "<= 0.06", value, value <= 0.06, where


def what_n_shows(groups, size, others, repeats):
    """Yield the claim of the power that is said, where so many comparisons are corrected for."""
    about = f"split, {groups} images" if size == 1 else f"split, {groups} groups of {size}"
    about += f", {others} comparisons" if others > 1 else ""
    value, where = worst(list(power_said(groups, size, 2 * repeats, ALPHA / others)), 1, max)
    yield f"{about}: power said is off by", "<= 0.03", value, value <= 0.03, where


def folds(n, least, group, repeats):
    """Yield the claims of cross-validation."""
    about = f"cross-validated, {n} images" if group == 1 else f"cross-validated, {n // group} groups of {group}"
    alike = {} if group == 1 else {"group": group, "alike": 0.5}
    found = list(cross_validated(n, repeats if n == 100 else repeats // 2, **alike))
    for column, what in (1, "accuracy"), (2, "difference"):
        value, where = worst(found, column)
        yield f"{about}: interval holds the {what}", f">= {least}", value, value >= least, where
    value, where = worst(found, 3, max)
    yield f"{about}: false winner", "<= 0.06", value, value <= 0.06, where


def noise(n, backbones, repeats):
    """Yield the claims of the choice among many heads that know nothing."""
    flattery, bias, held, beaten, parts, above = choices(n, backbones, 4 * repeats)
    about = f"noise, {n} images, {2 * backbones} heads"
    yield f"{about}: best minus truth, points (no promise)", "", 100 * flattery, True, ""
    yield f"{about}: choice in folds minus truth, points", "within 0.3", 100 * bias, abs(bias) <= 0.003, ""
    yield f"{about}: interval holds the choice", ">= 0.90", held, held >= 0.90, ""
    yield f"{about}: a false winner of chosen and others", "<= 0.06", beaten, beaten <= 0.06, ""
    yield f"{about}: a false winner of {backbones} backbones", "<= 0.06", parts, parts <= 0.06, ""
    yield f"{about}: choice beats the baseline", "<= 0.06", above, above <= 0.06, ""


def splits(n, share, repeats):
    """Yield the claims of random splits."""
    found, about = list(stable(n, share, repeats)), f"10 random splits of {n} images, {share:.0%} evaluated"
    value, where = worst(found, 1)
    yield f"{about}: interval holds the mean accuracy", ">= 0.90", value, value >= 0.90, where
    value, where = worst(found, 2)
    yield f"{about}: interval holds the difference", ">= 0.93", value, value >= 0.93, where
    value, where = worst(found, 3)
    yield f"{about}: a plain t interval would (no promise)", "", value, True, where


def answers(n, error, group, repeats):
    """Yield the claims of answers."""
    about = f"{n} images{f' in groups of {group}' if group > 1 else ''}"
    broken, answered, covered, rare = promises(n, min(repeats, 1000), error, 0.9, group=group)
    yield f"{about}: --max-error {error} broken ({answered:.0%} answered)", "<= 0.10", broken, broken <= 0.1, ""
    yield f"{about}: --coverage 0.9", ">= 0.895", covered, covered >= 0.895, ""
    yield f"{about}: --coverage 0.9, of the rare class", ">= 0.895", rare, rare >= 0.895, ""


STUDIES = [
    (class_claims,),
    *((costs, n) for n in (100, 400)),
    *((split, n, 1) for n in (100, 400, 40)),
    *((split, 40, size) for size in SIZES),
    *((split, 100, size) for size in (10, "2 or 40")),
    *((what_n_shows, *one, 1) for one in ((153, 1), (400, 1), (2000, 1), (100, 4), (40, 10))),
    *((several, *one) for one in ((153, 2), (400, 5), (400, 12))),
    *((what_n_shows, *one) for one in ((400, 1, 3), (2000, 1, 6))),
    *((folds, *one) for one in ((100, 0.90, 1), (400, 0.93, 1), (400, 0.93, 10))),
    *((noise, *one) for one in ((60, 10), (100, 20))),
    *((splits, *one) for one in ((100, 0.2), (400, 0.2), (400, 0.4))),
    *((answers, *one) for one in ((250, 0.05, 1), (400, 0.02, 1), (1000, 0.01, 1), (1000, 0.05, 5))),
]


def simulate(study, repeats):
    """Return the claims of a study, which draws the same whatever else is simulated."""
    restart()
    function, *about = study
    return list(function(*about, repeats))


def main():
    """Simulate and print every claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="NAME", help=", ".join({study[0].__name__ for study in STUDIES}))
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="put the table in the place of the one there")
    arguments = parser.parse_args()
    started, rows, lines = time.perf_counter(), [], ["| claim | asked | simulated | worst case |", "|---|---|---|---|"]
    studies = [study for study in STUDIES if arguments.only in ("", study[0].__name__)]
    print(*lines, sep="\n")
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for found in pool.map(partial(simulate, repeats=200 if arguments.quick else 1000), studies):
            for name, asked, value, holds, where in found:
                row = {"claim": name, "asked": asked, "simulated": float(value), "holds": bool(holds), "where": where}
                rows.append(row)
                lines.append(f"| {name} | {asked} | {value:.3f}{'' if holds else ' **no**'} | {where} |")
                print(lines[-1], flush=True)
    print(f"\n{sum(row['holds'] for row in rows)} of {len(rows)} hold; {time.perf_counter() - started:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.write:
        before, after = re.split(r"\| claim \| asked .*\n(?:\|.*\n)*", arguments.write.read_text(encoding="utf-8"))
        arguments.write.write_text(before + "\n".join(lines) + "\n" + after, encoding="utf-8")


if __name__ == "__main__":
    main()
