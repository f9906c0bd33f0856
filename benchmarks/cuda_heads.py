"""The section of heads in ``benchmarks/cuda.py``: the same searches on a device and on the processor beside it.

    python benchmarks/cuda_heads.py [--device cuda] [--rows 20000 180000] [--dim 4096] [--seconds 120]

Rows are synthetic, float32 of unit length after ReLU, of ten classes. A head answers its whole grid in five folds and
fits the point of the least log loss; ``knn`` keeps the rows and answers 2,000 others. What all heads share is a line of
its own: the way of the rows to the device, and the eigenbasis. On the device each figure is the median of three; on the
processor, where it takes long, of one. Of the most rows ``logreg`` is measured on the device only, and what the
processor does not end in its share of the time, or in a dozen times the device's, is given as more than that.

The points must be the same; log losses of the grid may differ by the last column.
"""

import argparse
import contextlib
import statistics
import time

import numpy as np

HEADS_MEASURED = ("ridge", "knn", "linear-svm", "logreg")
CLASSES = 10
FOLDS = 5
ASKED = 2000
ROUNDS = 3
SHORT = 4.0  # seconds of a search that is repeated on the processor
ENOUGH = 12  # times the seconds of the device after which the processor is stopped
BLOCK = 8192


class Late(Exception):
    """No time is left."""


def made_up(rows, dim, device, seed=0):
    """Return rows ``(n, d)`` float32 of unit length, made on the device, and labels ``(n,)``."""
    import torch

    generator = torch.Generator(device).manual_seed(seed)
    options = {"generator": generator, "device": device}
    directions = torch.randn(64, dim, generator=torch.Generator(device).manual_seed(100), device=device) / 8
    centres = 0.35 * torch.randn(CLASSES, 64, generator=torch.Generator(device).manual_seed(101), device=device)
    y, X = np.arange(rows) % CLASSES, np.empty((rows, dim), np.float32)
    for first in range(0, rows, BLOCK):
        codes = torch.from_numpy(y[first : first + BLOCK]).to(device)
        inside = (centres[codes] + torch.randn(len(codes), 64, **options)) @ directions
        block = (inside + 0.3 * torch.randn(len(codes), dim, **options) - 0.3).clamp_(min=0)
        X[first : first + BLOCK] = torch.nn.functional.normalize(block).cpu().numpy()
    return X, y


def folds_of(y):
    """Return folds, stratified."""
    from fc7.classify.data.splits import Fold

    place, everything = np.arange(len(y)) // CLASSES % FOLDS, np.arange(len(y))
    return [Fold(everything[place != number], everything[place == number]) for number in range(FOLDS)]


def searched(name, basis, y, folds, count_done):
    """Return the chosen point and the log losses of a grid, after a fit of that point on all rows."""
    from sklearn.model_selection import ParameterGrid

    from fc7.classify.heads.table import HEADS

    points = list(ParameterGrid(HEADS[name].grid))
    found = HEADS[name].build(0).out_of_fold(basis, y, folds, points, count_done)
    losses = [log_loss(scores, y) for scores in found.scores]
    point = points[int(np.argmin(losses))]
    HEADS[name].build(0).set_params(**point).fit_prepared(basis, y)
    return point, np.array(losses)


def log_loss(scores, y):
    """Return the mean log loss of scores, without a temperature: that is the same work for all."""
    from scipy.special import logsumexp

    rows = slice(None, None, max(len(y) // 20_000, 1))
    some, truth = scores[rows], y[rows]
    return float((logsumexp(some, axis=1) - some[np.arange(len(truth)), truth]).mean())


def answered(basis, y, asked):
    """Return the probabilities of rows by their neighbours."""
    from fc7.classify.heads.table import HEADS

    return "15 neighbours", HEADS["knn"].build(0).set_params(n_neighbors=15).fit_prepared(basis, y).predict_proba(asked)


def timed(work, rounds, end):
    """Return the result, the median of the seconds, and of how many; once is enough where the time is up."""
    seconds = []
    while not seconds or (len(seconds) < rounds and time.monotonic() + max(seconds) < end):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds), len(seconds)


def limited(end):
    """Return a function that raises when the time is up, to be called with the fits that are done."""

    def count_done(_):
        if time.monotonic() > end:
            raise Late

    return count_done


def heads(device, sizes, dim, end):
    """Print the table; `end` is when the time is up."""
    from fc7.classify.solvers.eigenbasis import Eigenbasis
    from fc7.classify.solvers.lapack import threads
    from fc7.extract.backbones.torch_runtime import find_device

    device = find_device(device)
    warm(device)
    print(f"\n| heads, {dim}-d | rows | device, s | processor, s | ratio | the same choice | losses apart |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for number, rows in enumerate(sizes):
        X, y = made_up(rows, dim, device)
        asked, _ = made_up(ASKED, dim, device, seed=1)
        data, last = (y, folds_of(y), asked), number == len(sizes) - 1
        there, here = Eigenbasis(X, device), Eigenbasis(X)
        line("rows to the device", rows, seconds_of(lambda there=there: there.there, device))
        for name in HEADS_MEASURED:
            if time.monotonic() > end:
                raise Late
            if name == "linear-svm":  # the first that needs it
                for basis in (there, here):
                    vars(basis).pop("second", None)
                with threads(rows):
                    both = (seconds_of(lambda there=there: there.values, device),
                            seconds_of(lambda here=here: here.rows32, None))  # fmt: skip
                line("eigenbasis, once for all", rows, *both)
            beside = not (last and number and name == "logreg")
            with threads(rows):
                compared(name, (there, here if beside else None), data, end)


def seconds_of(work, device):
    """Return how long something takes, also on a device."""
    import torch

    start, _ = time.perf_counter(), work()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def warm(device):
    """Have the libraries of a device loaded."""
    import torch

    for dtype in (torch.float32, torch.float64):
        matrix = torch.eye(64, dtype=dtype, device=device)
        torch.linalg.eigh(matrix @ matrix)
        torch.cholesky_solve(matrix, torch.linalg.cholesky_ex(matrix)[0]).cpu()


def compared(name, bases, data, end):
    """Print the line of a head."""
    y, folds, asked = data
    there, here = bases

    def work(basis, count_done):
        vars(basis).pop("second", None)  # kept for other heads: here each time counts
        return answered(basis, y, asked) if name == "knn" else searched(name, basis, y, folds, count_done)

    result, seconds, rounds = timed(lambda: work(there, lambda _: None), ROUNDS, end)
    if here is None:
        line(f"{name} ({rounds}, -)", len(y), seconds)
        return
    now, start = time.monotonic(), time.perf_counter()
    share = min((now + end) / 2, now + max(ENOUGH * seconds, SHORT))
    try:
        other, once, more = timed(lambda: work(here, limited(share)), 1, share)
        if once < SHORT:
            other, once, more = timed(lambda: work(here, limited(share)), ROUNDS, share)
    except Late:
        line(f"{name} ({rounds}, stopped)", len(y), seconds, time.perf_counter() - start, more=True)
        return
    apart = float(np.abs(result[1] - other[1]).max())
    line(f"{name} ({rounds}, {more})", len(y), seconds, once, same=result[0] == other[0], apart=apart)


def line(what, rows, device, processor=None, *, more=False, same=None, apart=None):
    """Print a line of the table; in brackets, of how many rounds a figure is the median."""
    sign = "> " if more else ""
    beside = ["", ""] if processor is None else [f"{sign}{processor:.2f}", f"{sign}{processor / device:.1f}"]
    choice = "" if same is None else "yes" if same else "NO"
    cells = [what, rows, f"{device:.3f}", *beside, choice, "" if apart is None else f"{apart:.1e}"]
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def main():
    """Measure and print."""
    from fc7.extract.computing import computing

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 180_000])
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=120.0)
    arguments = parser.parse_args()
    with contextlib.suppress(Late), computing():
        heads(arguments.device, arguments.rows, arguments.dim, time.monotonic() + arguments.seconds)


if __name__ == "__main__":
    main()
