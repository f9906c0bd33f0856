"""The classes of a run on a terminal: the worst first, and what their means say beside the accuracy."""

from collections.abc import Mapping

from ...cache.tables import counted
from ...extract.commands.terminal import table
from ...extract.text import few, plain
from ..evaluation.expected_cost import MeanCost
from ..evaluation.per_class import FEW_IMAGES
from ..records.class_report import TOP, ClassReport, class_report
from ..records.runs import Run
from ..reports.classes import class_rows, with_interval

SHOWN = 10  # classes; --json and the report have all


def class_lines(run: Run, name: str) -> str:
    """Return a table of the classes of a run, the least recall first, with their means; empty for an old record."""
    report = class_report(run)
    if report is None:
        return ""
    figures = report.figures
    most = f"the {SHOWN} of least recall of {len(figures)}" if len(figures) > SHOWN else "the least recall first"
    title = f"Classes of {name}, {most}:"
    columns, rows = class_rows(report, SHOWN)
    return "\n".join([table(title, columns, rows), *map(plain, means(report))])


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
        f"Mean cost of {counted(least.n, 'evaluated image')}: {least} with the answers of least expected cost, "
        f"{probable} with the most probable classes."
    )
