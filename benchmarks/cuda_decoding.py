"""The section of decoders in ``benchmarks/cuda.py``: Pillow in as many processes as cores, and the JPEG engine."""

import multiprocessing
import os
import statistics
import time
from pathlib import Path

ROUNDS = 3
LOOP = 1.0  # seconds of a loop
PATIENCE = 20  # seconds that something may be late before it is given up


def median_of(work, rounds=ROUNDS):
    """Return the median of so many results."""
    return statistics.median(work() for _ in range(rounds))


def decoders(bench):
    """Print what decodes, alone."""
    print("\n| decoders alone | images/s |\n|---|---|")
    count = os.cpu_count()
    bench.require_time(5)
    print(f"| Pillow, {count} processes | {median_of(lambda: sum(in_processes(bench.files, count))):.0f} |", flush=True)
    if bench.cuda:
        print(f"| JPEG engine and resize, one | {median_of(lambda: by_engine(bench.files)):.0f} |", flush=True)


def decoded(files, begin=None, found=None):
    """Return how many images are read and decoded in a second, by one who does nothing else."""
    from fc7.cache.recipe import DECODES, Input, Transform
    from fc7.extract.decoding.decode import decode, read_image_bytes
    from fc7.extract.decoding.views import view

    wanted = Input(Transform(), DECODES["exact"], 0)
    view(decode(read_image_bytes(files[0])), wanted, b"")
    if begin:
        begin.wait()
    start, images = time.perf_counter(), 0
    while time.perf_counter() - start < LOOP:
        view(decode(read_image_bytes(files[images % len(files)])), wanted, b"")
        images += 1
    rate = images / (time.perf_counter() - start)
    if found:
        found.put(rate)
    return rate


def in_processes(files, count):
    """Return the rates of processes that begin together."""
    context = multiprocessing.get_context("spawn")
    begin, found = context.Barrier(count, timeout=PATIENCE), context.Queue()
    processes = [context.Process(target=decoded, args=(files, begin, found), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    rates = [found.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    return rates


def by_engine(files):
    """Return how many files a second the engine decodes, with the resize, in batches of 256."""
    import torch

    from fc7.cache.recipe import Transform
    from fc7.extract.decoding.hardware import Engine, takes

    engine, transform = Engine(torch.device("cuda", 0)), Transform()
    data = [file for path in files[:2048] if (file := takes(Path(path).read_bytes(), transform))]
    parts = [dict(enumerate(data[start : start + 256])) for start in range(0, len(data), 256)]
    engine.pixels_of(parts[0], transform, 256)
    start = time.perf_counter()
    for part in parts:
        engine.pixels_of(part, transform, 256)
    return len(data) / (time.perf_counter() - start)
