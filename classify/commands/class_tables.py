"""The classes of a run on a terminal: the worst first, and what their means say beside the accuracy."""

from collections.abc import Mapping

from ...cache.tables import counted
from ...extract.commands.terminal import table
from ...extract.text import few, plain
from ..evaluation.expected_cost import MeanCost
from ..evaluation.per_class import FEW_IMAGES, Estimate
from ..records.class_report import TOP, ClassReport, class_report
from ..records.runs import Run

SHOWN = 10  # classes; --json and the report have all
COLUMNS = ("class", "images", "recall", "95 %", "precision", "95 %", "F1", "95 %", "AUROC", "95 %", "taken for")

_AREA = COLUMNS.index("AUROC"), COLUMNS.index("AUROC") + 1  # left out where no class has one


def class_lines(run: Run, name: str) -> str:
    """Return a table of the classes of a run, the least recall first, with their means; empty for an old record."""
    report = class_report(run)
    if report is None:
        return ""
    figures = report.figures
    most = f"the {SHOWN} of least recall of {len(figures)}" if len(figures) > SHOWN else "the least recall first"
    title = f"Classes of {name}, {most}:"
    rows = [_row(report, place) for place in range(min(len(figures), SHOWN))]
    kept = [place for place, head in enumerate(COLUMNS) if report.aurocs or place not in _AREA]
    rows = [[row[place] for place in kept] for row in rows]
    return "\n".join([table(title, [COLUMNS[place] for place in kept], rows), *map(plain, means(report))])


def means(report: ClassReport) -> list[str]:
    """Return the means over classes in a line, and what must be known of classes with few images."""
    texts = [
        f"balanced accuracy {with_interval(report.balanced_accuracy)}",
        f"macro F1 {with_interval(report.macro_f1)}",
    ]
    texts += [f"top-{TOP} accuracy {with_interval(report.top)}"] if report.top else []
    lines = [f"Every class counted alike: {', '.join(texts)}."]
    if report.few:
        names = few([f"{report.names[one.place]} {one.images}" for one in report.few])
        classes = counted(len(report.few), "class", "classes")
        lines.append(f"note: {classes} of fewer than {FEW_IMAGES} evaluated images, whose figures are rough: {names}")
    empty = [report.names[one.place] for one in report.figures if not one.images]
    return [*lines, *([f"note: classes without an evaluated image: {few(empty)}"] if empty else [])]


def cost_lines(report: Mapping[str, MeanCost] | None) -> str:
    """Return a line on what the evaluated images cost; empty without costs."""
    if report is None:
        return ""
    least, probable = report["least_cost"], report["most_probable"]
    return (
        f"Mean cost of the {least.n} evaluated images: {least} with the answers of least expected cost, {probable} "
        "with the most probable classes."
    )


def with_interval(estimate: Estimate) -> str:
    """Return ``0.540 (0.330-0.740)``."""
    return f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def _row(report: ClassReport, place: int) -> list[str]:
    one = report.figures[place]
    cells = [report.names[one.place], str(one.images)]
    for estimate in (one.recall, one.precision, one.f1, report.aurocs.get(one.place)):
        cells += [f"{estimate.value:.3f}", f"{estimate.low:.3f}-{estimate.high:.3f}"] if estimate else ["", ""]
    other, count = report.taken_for.get(one.place, (None, 0))
    return [*cells, "" if other is None else f"{report.names[other]} ({count} of {one.images})"]
