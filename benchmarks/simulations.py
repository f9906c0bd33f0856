"""Images, folds, answers and splits, drawn at random: what claims.py judges the promises of fc7 by.

The functions under test are those of fc7.classify.evaluation. Cross-validated heads are ridge classifiers on Gaussian
rows, of which the true accuracy is known; they are fitted from sums over folds, many data sets at a time.
"""

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from fc7.classify.evaluation.abstention import Abstention
from fc7.classify.evaluation.class_means import balanced_accuracy, macro_f1
from fc7.classify.evaluation.effective_size import (
    ALPHA,
    agresti_coull,
    effective_size,
    fold_inflation,
    group_correlation,
)
from fc7.classify.evaluation.expected_cost import mean_cost
from fc7.classify.evaluation.group_power import likely_in_groups
from fc7.classify.evaluation.nested_choice import choose_in_folds
from fc7.classify.evaluation.paired_tests import (
    POWER,
    allow_for,
    difference_interval,
    holm,
    holm_levels,
    likely_difference,
    mcnemar,
    sign_flip,
)

FOLDS = 5
SIZES = (4, 10, "1 to 19", "exponential", "lognormal", "2 or 40")  # of groups
RNG = np.random.default_rng(0)


def restart():
    """Draw the same from now on, whatever was drawn before."""
    global RNG
    RNG = np.random.default_rng(0)


# Images as they are: right or wrong, alone or in groups


def shares(mean, correlation, shape):
    """Return probabilities of outcomes ``shape + (outcomes,)`` of groups, whose images are so correlated."""
    mean = np.asarray(mean, float)
    if not correlation:
        return np.broadcast_to(mean, (*shape, len(mean)))
    drawn = RNG.standard_gamma(np.maximum(mean * (1 - correlation) / correlation, 1e-12), (*shape, len(mean))) + 1e-300
    return drawn / drawn.sum(axis=-1, keepdims=True)


def sizes(groups, size):
    """Return the number of images of each group: all alike, or by a distribution."""
    place = (np.arange(groups) + 0.5) / groups
    drawn = {
        "1 to 19": lambda: 1 + 18 * place,
        "exponential": lambda: -5 * np.log1p(-place),
        "lognormal": lambda: np.exp(1.2 + 1.2 * ndtri(place)),
        "2 or 40": lambda: np.where(place < 0.9, 2, 40),
    }
    return np.maximum(np.round(drawn[size]()), 1).astype(int) if size in drawn else np.full(groups, size)


def outcomes(mean, correlation, repeats, groups, size):
    """Return counts of outcomes ``(repeats, groups, outcomes)``."""
    return RNG.multinomial(sizes(groups, size), shares(mean, correlation, (repeats, groups)))


def values(counts, scores):
    """Return the score of each image, and its group, of counts ``(groups, outcomes)``."""
    places = np.repeat(np.tile(np.arange(len(scores)), len(counts)), counts.reshape(-1))
    return np.asarray(scores)[places], np.repeat(np.arange(len(counts)), counts.sum(axis=1))


def accuracy_coverage(groups, size, repeats):
    """Yield where, and how often the interval of an accuracy holds it."""
    for correlation in (0.0, 0.3, 0.6) if size != 1 else (0.0,):
        for accuracy in np.arange(0.5, 1, 0.001).round(3) if size == 1 else (0.5, 0.7, 0.8, 0.9, 0.95, 0.98):
            if size == 1:
                every = np.arange(groups + 1)
                ends = np.array([agresti_coull(int(count), groups) for count in every])
                inside = (ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1])
                yield f"accuracy {accuracy}", binom.pmf(every, groups, accuracy)[inside].sum()
                continue
            held = []
            for counts in outcomes([accuracy, 1 - accuracy], correlation, repeats, groups, size):
                right, group = values(counts, [1, 0])
                low, high = agresti_coull(int(right.sum()), len(right), effective_size(right, group))
                held.append(low <= accuracy <= high)
            yield f"accuracy {accuracy}, correlation {correlation}", np.mean(held)


def difference(counts, folds=1):
    """Return p and the interval of the difference of two runs from counts of only first, only second and the rest."""
    differences, group = values(counts, [1, -1, 0])
    first, second = (int(count) for count in counts.sum(axis=0)[:2])
    alone = len(counts) == len(differences)
    exact = float(mcnemar(first, second)) if alone else sign_flip(counts[:, 0] - counts[:, 1])
    p = allow_for(exact, fold_inflation(folds))
    return p, difference_interval(first, second, len(differences), p, effective_size(differences, group, folds))


def difference_coverage(groups, size, repeats):
    """Yield where, how often the interval of a difference holds it, and how often a test of no difference is wrong."""
    for correlation in (0.0, 0.3, 0.6) if size != 1 else (0.0,):
        for first, second in ((0.02, 0.02), (0.05, 0.05), (0.15, 0.15), (0.03, 0.01), (0.1, 0.02), (0.2, 0.1)):
            drawn = outcomes([first, second, 1 - first - second], correlation, repeats, groups, size)
            found = [difference(counts) for counts in drawn]
            held = np.mean([low <= first - second <= high for _, (low, high) in found])
            wrong = np.mean([p <= ALPHA for p, _ in found]) if first == second else 0.0
            yield f"only one right {first}, {second}, correlation {correlation}", held, wrong


def family(images, others, repeats):
    """Yield where, how often all intervals of a family hold their differences, and how often there is a false winner.

    A run that was chosen without the images is compared with `others`. In the mean over images all are equally good, or
    the chosen one is better than the first half of the others.
    """
    for ahead in (0.0, 0.06):
        held, false = [], []
        for _ in range(repeats):
            hard = RNG.random(images)
            shares = np.where(np.arange(others + 1) > others // 2, 0.85, 0.85 - ahead)
            shares[0] = 0.85
            right = hard[:, None] + 0.15 * RNG.standard_normal((images, others + 1)) < shares
            truth = _expected(shares)
            first, second = (right[:, :1] & ~right[:, 1:]).sum(0), (~right[:, :1] & right[:, 1:]).sum(0)
            corrected = holm(mcnemar(first, second))
            levels = holm_levels(corrected)
            ends = [
                difference_interval(int(b), int(c), images, p, level=level)
                for b, c, p, level in zip(first, second, corrected, levels, strict=True)
            ]
            inside = [low <= truth[0] - one <= high for (low, high), one in zip(ends, truth[1:], strict=True)]
            held.append(inside)
            same = truth[1:] == truth[0]
            false.append(bool((np.array(corrected)[same] <= ALPHA).any()))
        yield f"better by {100 * ahead:g} points than half", np.mean(held, axis=0).min(), np.mean(false)


def _expected(shares):
    """Return the accuracy of runs that are right where the hardness of an image and noise are under a share."""
    hard = (np.arange(20_000) + 0.5) / 20_000
    return np.array([ndtr((share - hard) / 0.15).mean() for share in shares])


def power_said(groups, size, repeats, level=ALPHA):
    """Yield where, and by how much the power of the difference that is said to be likely found is off."""
    for correlation in (0.0, 0.3) if size != 1 else (0.0,):
        for discordant in (0.1, 0.2, 0.4):
            drawn = outcomes([discordant / 2, discordant / 2, 1 - discordant], correlation, 150, groups, size)
            said = np.median([likely(counts, discordant, level) for counts in drawn])
            if np.isfinite(said):
                mean = [(discordant + said) / 2, (discordant - said) / 2, 1 - discordant]
                found = [
                    difference(counts)[0] <= level for counts in outcomes(mean, correlation, repeats, groups, size)
                ]
                yield f"only one right {discordant}, correlation {correlation}", abs(np.mean(found) - POWER)


def likely(counts, discordant, level):
    """Return the difference that is said to be likely found, from counts of only first, only second and the rest."""
    differences, group = values(counts, [1, -1, 0])
    sizes = tuple(np.sort(np.bincount(group)).tolist())
    if max(sizes) == 1:
        return likely_difference(len(sizes), discordant, level)
    return likely_in_groups(sizes, group_correlation(differences, group), discordant, level)


def class_means_coverage(repeats):
    """Yield where, and how often the intervals of balanced accuracy, and of macro F1, hold them."""
    cases = {
        "100 and 100": ((100, 100), (0.9, 0.9)),
        "120 and 5": ((120, 5), (0.98, 0.3)),
        "120 and 20": ((120, 20), (0.98, 0.6)),
        "10 of 10": ((10,) * 10, (0.95,) * 10),
        "60 of 3 to 600": (
            tuple(max(3, 600 // place) for place in range(1, 61)), tuple(0.95 - 0.01 * place for place in range(60)),
        ),
    }  # fmt: skip
    for name, (sizes, recalls) in cases.items():
        y, share = np.repeat(np.arange(len(sizes)), sizes), np.asarray(sizes, float)
        others = np.where(np.eye(len(sizes), dtype=bool), 0.0, share)
        chances = (1 - np.array(recalls))[:, None] * others / others.sum(axis=1, keepdims=True) + np.diag(recalls)
        taken = share @ chances
        truth = np.mean(recalls), np.mean(2 * share * recalls / (share + taken))
        bounds = chances.cumsum(axis=1)[y]
        held = []
        for _ in range(repeats):
            predicted = np.minimum((RNG.random(len(y))[:, None] > bounds).sum(axis=1), len(sizes) - 1)
            found = balanced_accuracy(y, predicted), macro_f1(y, predicted)
            held.append([one.low <= true <= one.high for one, true in zip(found, truth, strict=True)])
        yield f"classes {name}", *np.mean(held, axis=0)


def mean_cost_coverage(n, repeats):
    """Yield where, and how often the interval of the mean cost of an image holds it."""
    ten = 1 + np.arange(100.0).reshape(10, 10) % 7
    cases = {
        "1 and 1": ((0.5, 0.5), (0.9, 0.9), 1 - np.eye(2)),
        "1 and 1, nearly all right": ((0.5, 0.5), (0.99, 0.99), 1 - np.eye(2)),
        "1 and 9": ((0.5, 0.5), (0.9, 0.95), np.array([[0.0, 1.0], [9.0, 0.0]])),
        "ten classes": ((0.1,) * 10, (0.85,) * 10, np.where(np.eye(10, dtype=bool), 0.0, ten)),
        "1 and 20 of a rare class": ((0.9, 0.1), (0.95, 0.8), np.array([[0.0, 1.0], [20.0, 0.0]])),
    }
    for name, (shares, recalls, costs) in cases.items():
        classes, right = len(shares), np.eye(len(shares), dtype=bool)
        chances = np.where(right, recalls, (1 - np.array(recalls))[:, None] / (classes - 1))
        truth, bounds = float(np.array(shares) @ (chances * costs).sum(axis=1)), chances.cumsum(axis=1)
        held = []
        for _ in range(repeats):
            y = RNG.choice(classes, n, p=shares)
            predicted = np.minimum((RNG.random(n)[:, None] > bounds[y]).sum(axis=1), classes - 1)
            found = mean_cost(y, predicted, costs)
            held.append(found.low <= truth <= found.high)
        yield f"costs {name}", np.mean(held)


# Cross-validation: heads that are fitted


class Study:
    """Data sets of two classes, and ridge classifiers on them: everything a record of cross-validation has.

    Attributes
    ----------
    right, fold
        Whether each head was right on each image, ``(repeats, heads, n)``; the fold of each image, ``(n,)``.
    losses
        Log loss of each head inside the fitted images of each fold, ``(repeats, heads, folds)``.
    truth
        Accuracy on new images of the head of each fold, ``(repeats, heads, folds)``.
    """

    def __init__(self, repeats, n, dim, shift, backbones, penalties, *, group=1, alike=0.0):
        y = np.arange(n) // group % 2
        self.group = np.arange(n) // group
        self.fold = np.arange(n) // group // 2 % FOLDS
        sign, mean = np.where(y == 1, 1.0, -1.0), np.zeros(dim)
        mean[0] = shift
        right, losses, truth = [], [], []
        common = RNG.standard_normal((repeats, n, dim))
        for _ in range(backbones):
            rows = np.sqrt(0.5) * (common + RNG.standard_normal((repeats, n, dim)))
            scenes = RNG.standard_normal((repeats, n // group, dim))[:, self.group]
            rows = np.sqrt(1 - alike) * rows + np.sqrt(alike) * scenes + sign[:, None] * mean
            rows = np.concatenate([rows, np.ones((repeats, n, 1))], axis=2)
            for penalty in penalties:
                one = self._head(rows, sign, penalty, mean)
                for table, found in zip((right, losses, truth), one, strict=True):
                    table.append(found)
        self.right, self.losses, self.truth = (np.stack(table, axis=1) for table in (right, losses, truth))

    def _head(self, rows, sign, penalty, mean):
        inside = [self.fold == number for number in range(FOLDS)]
        moments = [rows[:, own].transpose(0, 2, 1) @ rows[:, own] for own in inside]
        targets = [np.einsum("rnd,n->rd", rows[:, own], sign[own]) for own in inside]
        ridge = penalty * np.diag([1.0] * (rows.shape[2] - 1) + [0.0])

        def margins(without, held):
            used = [number for number in range(FOLDS) if number not in without]
            plane = np.linalg.solve(
                sum(moments[number] for number in used) + ridge + 1e-6 * np.eye(len(ridge)),
                sum(targets[number] for number in used)[..., None],
            )
            return plane, (rows[:, inside[held]] @ plane)[..., 0] * sign[inside[held]]

        right, losses, truth = np.empty(rows.shape[:2], bool), [], []
        for number in range(FOLDS):
            plane, own = margins({number}, number)
            right[:, inside[number]] = own > 0
            inner = [margins({number, other}, other)[1] for other in range(FOLDS) if other != number]
            losses.append(np.logaddexp(0, -2 * np.concatenate(inner, axis=1)).mean(axis=1))
            length = np.linalg.norm(plane[:, :-1, 0], axis=1)
            along, offset = plane[:, :-1, 0] @ mean, plane[:, -1, 0]
            truth.append((ndtr((along + offset) / length) + ndtr((along - offset) / length)) / 2)
        return right, np.stack(losses, axis=1), np.stack(truth, axis=1)


def interval(right, study):
    """Return the interval of a cross-validated accuracy."""
    group = study.group if len(np.unique(study.group)) < len(right) else None
    return agresti_coull(int(right.sum()), len(right), effective_size(right, group, FOLDS))


def paired(first, second, study):
    """Return p and the interval of the difference of two cross-validated heads."""
    counts = np.column_stack([
        np.bincount(study.group, kind, minlength=study.group[-1] + 1).astype(int)
        for kind in (first & ~second, second & ~first, first == second)
    ])  # fmt: skip
    return difference(counts, FOLDS)


def cross_validated(n, repeats, **groups):
    """Yield where, coverage of accuracies, of differences, and false winners of exchangeable backbones."""
    for dim, shift in ((10, 0.0), (10, 0.6), (10, 1.5), (60, 0.0), (60, 0.8), (60, 1.8)):
        for penalty in (10.0, 1000.0):
            study = Study(repeats, n, dim, shift, 2, [penalty], **groups)
            mean, one = study.truth.mean(), study.right[:, 0]
            ends = np.array([interval(right, study) for right in one])
            held = [
                ((ends[:, 0] <= true) & (true <= ends[:, 1])).mean() for true in (mean, study.truth[:, 0].mean(axis=1))
            ]
            pairs = [paired(*two, study) for two in study.right]
            level = np.mean([low <= 0 <= high for _, (low, high) in pairs])
            where = f"{dim}-d, accuracy {mean:.2f}, penalty {penalty:g}"
            yield where, min(held), level, np.mean([p <= ALPHA for p, _ in pairs])


def choices(n, backbones, repeats):
    """Return of noise: flattery of the best, bias of the choice made anew, its coverage, and false winners."""
    best, anew, held, beaten, parts, above = [], [], [], [], [], []
    for _ in range(max(1, repeats // 100)):
        study = Study(100, n, 8, 0.0, backbones, [10.0, 1000.0])
        for right, losses in zip(study.right, study.losses, strict=True):
            order = np.argsort(losses.mean(axis=1), kind="stable")
            choice = choose_in_folds(losses, study.fold, right.astype(int))[1] > 0
            low, high = interval(choice, study)
            best.append(right[order[0]].mean())
            anew.append(choice.mean())
            held.append(low <= 0.5 <= high)
            beaten.append(any_better(right[order[0]], np.delete(right, order[0], axis=0)))
            nested = np.array([
                choose_in_folds(losses[one : one + 2], study.fold, right[one : one + 2].astype(int))[1] > 0
                for one in range(0, 2 * backbones, 2)
            ])  # fmt: skip
            parts.append(any_better(nested[order[0] // 2], np.delete(nested, order[0] // 2, axis=0)))
            above.append(paired(choice, np.arange(n) % 2 == 1, study)[0] <= ALPHA)
    return np.mean(best) - 0.5, np.mean(anew) - 0.5, np.mean(held), *map(np.mean, (beaten, parts, above))


def any_better(chosen, others):
    """Return whether the chosen cross-validated head beats another or is beaten, of all and the baseline."""
    p = mcnemar((chosen & ~others).sum(axis=1), (~chosen & others).sum(axis=1))
    return allow_for(float(p.min()), fold_inflation(FOLDS)) <= ALPHA / (len(others) + 1)


# Promises about answers


def promises(n, repeats, error, coverage, *, group=1):
    """Return how often answers are wrong more often than promised, how many get one, and coverage of sets by class."""
    broken, answered, covered, rare = [], [], [], []
    dim, classes = 10, np.arange(n) // group % 5 == 0
    mean = np.zeros(dim)
    mean[0] = 1.6
    fold, groups = np.arange(n) // group // 5 % FOLDS, np.arange(n) // group
    new = RNG.standard_normal((20_000, dim))
    truth = RNG.random(len(new)) < 0.2
    new += np.where(truth, 1, -1)[:, None] * mean
    for _ in range(repeats):
        scenes = RNG.standard_normal((n // group, dim))[groups]
        rows = RNG.standard_normal((n, dim)) if group == 1 else np.sqrt(0.5) * (RNG.standard_normal((n, dim)) + scenes)
        rows += np.where(classes, 1, -1)[:, None] * mean

        def chances(fitted, asked, rows=rows):
            centres = [rows[fitted & (classes == label)].mean(axis=0) for label in (False, True)]
            plane = centres[1] - centres[0]
            margin = (asked - (centres[0] + centres[1]) / 2) @ plane + np.log(0.25)
            positive = 1 / (1 + np.exp(-margin))
            return np.column_stack([1 - positive, positive])

        probability = np.empty((n, 2))
        for number in range(FOLDS):
            probability[fold == number] = chances(fold != number, rows[fold == number])
        label = classes.astype(np.int32)
        known = Abstention(
            probability=probability.max(axis=1).astype(np.float32),
            label_probability=probability[np.arange(n), label].astype(np.float32),
            predicted=probability.argmax(axis=1).astype(np.int32),
            label=label,
            group=groups.astype(np.int32),
            reference=np.zeros((1, dim), np.float16),
            distance=np.zeros(1, np.float32),
        )
        found = chances(np.ones(n, bool), new)
        sure = found.max(axis=1) >= known.threshold(error).probability
        wrong = (found.argmax(axis=1) != truth)[sure].mean() if sure.any() else 0.0
        broken.append(wrong > error)
        answered.append(sure.mean())
        own = found[np.arange(len(new)), truth.astype(int)]
        covered.append((own >= known.sets(coverage, 2)[0]).mean())
        rare.append((own >= known.sets(coverage, 2, class_conditional=True)[truth.astype(int)])[truth].mean())
    return np.mean(broken), np.mean(answered), np.mean(covered), np.mean(rare)
