"""An audit as tables on a terminal, and as csv with one row per finding."""

from collections import Counter
from collections.abc import Sequence

from ...cache.tables import are, counted
from ...extract.commands.terminal import table
from ...extract.text import csv_text, plain
from ..pages.text import figure, percent
from .audit import Audit
from .findings import COLUMNS, CONFIDENT, ImagePair, Suspect


def audit_csv(audit: Audit) -> str:
    """Return a row per finding with the columns :data:`COLUMNS`; a cell that does not apply is empty."""
    return csv_text(COLUMNS, [finding.to_dict() for finding in audit.findings])


def summary(audit: Audit) -> list[tuple[str, int, str]]:
    """Return the kinds of findings, with the number of each and its rule."""
    settings = audit.settings
    across, across_candidates = (
        sum(pair.across_splits for pair in pairs) for pairs in (audit.near_duplicates, audit.candidates)
    )
    off, confident = (sum(getattr(one, name) for one in audit.suspects) for name in ("off_diagonal", "confident"))
    cosine, far = _or_none(settings["threshold"]), _or_none(settings["outlier_distance"])
    neighbour = f"k-th nearest image, k = {settings['neighbours']}"
    near = []
    if settings["compared"] is not None:
        rule = f"the same picture, perhaps cropped, mirrored, grey or brighter; {across:,} across splits"
        near.append(("near-duplicates", len(audit.near_duplicates), rule))
    if settings["compared"] is None or audit.candidates:
        rule = f"cosine {cosine} or more, no pictures to compare; {across_candidates:,} across splits"
        near.append(("candidates", len(audit.candidates), rule))
    judged = "no label was judged"
    if settings["judged"]:
        judged = (
            f"taken for another class by {settings['head']} out-of-fold, which agrees with "
            f"{percent(settings['accuracy'])} % of {settings['judged']:,} labels; {off:,} off the diagonal of the "
            f"confident joint, {confident:,} of them confidently: with a probability of {CONFIDENT:g} or more"
        )
    return [
        ("leaks", len(audit.leaks), "the same bytes, or one group, in two splits"),
        ("conflicts", len(audit.conflicts), "the same bytes under different labels"),
        ("duplicates", len(audit.duplicates), "the same bytes, those above among them"),
        *near,
        ("outliers", len(audit.outliers), f"farther than {far} from their {neighbour}"),
        ("suspected labels", len(audit.suspects), judged),
    ]


def describe(audit: Audit) -> str:
    """Return the name and the size of the data set in one line."""
    images = audit.images
    splits = Counter(split for split in images.split.tolist() if split)
    sizes = "".join(f", {name} {count:,}" for name, count in splits.items())
    classes, unlabelled = len(set(images.labels.tolist()) - {""}), int((images.labels == "").sum())
    said = [counted(classes, "class", "classes")] if classes else []
    said += [f"{unlabelled:,} without a label"] if unlabelled and classes else ["no labels"] if unlabelled else []
    return f"{images.name or 'data'}: {counted(len(images), 'image')}, {', '.join(said)}{sizes}"


def audit_text(audit: Audit, top: int) -> str:
    """Return the summary and the first `top` findings of every kind."""
    rows = [[name, f"{count:,}", rule] for name, count, rule in summary(audit)]
    notes = [f"note: {plain(note)}" for note in audit.notes]
    texts = ["\n".join([table(describe(audit), ["looked for", "found", "rule"], rows), *notes])]
    # No tables: a terminal is rarely wide enough for two paths side by side.
    texts += ["\n".join([_title(title, pairs, top), *map(_pair, pairs[:top])]) for _, title, pairs in pairs_of(audit)]
    if audit.outliers:
        rows = [[figure(found.distance), found.image.path, found.image.label] for found in audit.outliers[:top]]
        texts.append(table(_title("Outliers", audit.outliers, top), ["distance", "image", "label"], rows))
    if audit.suspects:
        rows = [_suspect(suspect) for suspect in audit.suspects[:top]]
        heads = ["label is", "looks like", "believed", "confident", "image"]
        texts.append(table(_title("Suspected labels, the least believed first", audit.suspects, top), heads, rows))
    return "\n\n".join(texts)


def pairs_of(audit: Audit) -> list[tuple[str, str, list[ImagePair]]]:
    """Return an id, a title and the pairs of each kind that has any; a pair appears in its worst kind only."""
    conflicts = [pair for pair in audit.conflicts if not pair.across_splits]
    duplicates = [pair for pair in audit.duplicates if not (pair.across_splits or pair.labels_differ)]
    kinds = [
        ("leaks", "On both sides of a split", audit.leaks),
        ("conflicts", "Conflicting labels", conflicts),
        ("duplicates", "Other duplicates", duplicates),
        ("near-duplicates", "Near-duplicates", audit.near_duplicates),
        ("candidates", "Candidates for near-duplicates, by cosine", audit.candidates),
    ]
    return [(name, title, pairs) for name, title, pairs in kinds if pairs]


def marks(pair: ImagePair) -> str:
    """Return the splits, the labels or the group that make a pair worse than others."""
    reasons = [f"{pair.first.split} and {pair.second.split}"] if pair.across_splits else []
    reasons += [f"{pair.first.label} and {pair.second.label}"] if pair.labels_differ else []
    return ", ".join([*reasons, *(["one group"] if pair.kind == "group" else [])])


def _title(title: str, findings: Sequence[object], top: int) -> str:
    return f"{title}: {f'{top:,} of ' if len(findings) > top else ''}{len(findings):,}"


def _pair(pair: ImagePair) -> str:
    reasons = f" ({marks(pair)})" if marks(pair) else ""
    alike = "same " if pair.kind == "duplicate" else figure(pair.cosine)
    return plain(f"{alike}  {pair.first.path} = {pair.second.path}{reasons}")


def _suspect(suspect: Suspect) -> list[str]:
    confident = "yes" if suspect.confident else ""
    return [suspect.image.label, suspect.predicted, figure(suspect.self_confidence), confident, suspect.image.path]


def _or_none(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def leak_line(leaks: Sequence[ImagePair], *, allowed: bool) -> str:
    """Return one line on the pairs that are in two splits, with the paths of the first."""
    first = leaks[0]
    link, what = ("=", "the same image") if first.kind == "duplicate" else ("and", "one group")
    after = "Figures measured on them are optimistic." if allowed else "Remove one side, or accept it: --allow-leakage."
    return f"{_in_two_splits(leaks)}; the first is {first.first.path} {link} {first.second.path} ({what}). {after}"


def headline(audit: Audit) -> str:
    """Return the result of the audit in one sentence."""
    if audit.leaks:
        return f"{_in_two_splits(audit.leaks)}: figures measured on them are optimistic."
    if not set(audit.images.labels.tolist()) - {""}:
        copies, outliers = f"{len(audit.duplicates):,}", f"{len(audit.outliers):,}"
        near = counted(len(audit.near_duplicates) + len(audit.candidates), "pair is", "pairs are")
        images = counted(len(audit.images), "image")
        alike = "alike" if audit.settings["compared"] is None else "the same picture"
        return f"Of {images} {copies} are copies and {outliers} outliers; {near} {alike}."
    answer = "No image is in two splits" if set(audit.images.split.tolist()) - {""} else "There are no splits to leak"
    answer += f"; contrary copies: {len(audit.conflicts):,}" if audit.conflicts else ""
    doubted, judged = len(audit.suspects), audit.settings["judged"]
    return f"{answer}; {doubted:,} of {judged:,} labels {are(doubted)} doubted."


def _in_two_splits(leaks: Sequence[ImagePair]) -> str:
    return f"{counted(len(leaks), 'pair is', 'pairs are')} in two splits, by bytes or group"
