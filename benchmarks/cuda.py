"""What a CUDA device does in fc7, in one run: a plain loader, both ways to decode, what bounds them, and equal numbers.

    python benchmarks/cuda.py FOLDER [--files 16000] [--device cuda] [--seconds 300] [--networks alexnet,vgg16,resnet50]

FOLDER has 100 photographs (``benchmarks/pack_cuda.py`` makes it). They are multiplied to files with distinct bytes, by
a comment of its own in each, because equal bytes are computed once, in memory-backed storage. Tables:

- forward passes on ready pixels, as extraction runs them, and on the device alone;
- Pillow in as many processes as cores, and the device's JPEG engine with the resize beside it;
- ``ImageFolder`` and a ``DataLoader`` with 8, 16 and 32 workers, pinned memory and batches of 128, for these networks;
- ``fc7.extract.fill`` with ``decode="exact"`` and ``"hardware"``, and how far its vectors are from the loader's.

Each figure is the median of three, with random parameters, which cost what real ones do. Where no time is left, a line
says so. Without a device, ``--device cpu`` tries everything but the engine, on few files.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

LAYERS = {"alexnet": "fc7", "vgg16": "fc7", "resnet50": "penultimate"}
WORKERS = (8, 16, 32)
BATCH = 128  # of the loader
ROUNDS = 3
LOOP = 1.0  # seconds of a loop


class Late(Exception):
    """No time is left for a part."""


class Bench:
    """The files, the device, and how long it may go on."""

    def __init__(self, arguments, root):
        self.device, self.root, self.networks = arguments.device, root, arguments.networks.split(",")
        self.end = time.monotonic() + arguments.seconds
        self.files = multiplied(arguments.folder / "photographs", root / "data" / "photographs", arguments.files)

    def require_time(self, seconds):
        """Raise if less than this is left."""
        if time.monotonic() + seconds > self.end:
            raise Late


def multiplied(folder, target, count):
    """Write so many files with distinct bytes; return their paths."""
    sources = [path.read_bytes() for path in sorted(folder.glob("*.jp*g"))]
    target.mkdir(parents=True)
    paths = []
    for number in range(count):
        comment = f"{number:08}".encode()
        data = sources[number % len(sources)]
        path = target / f"{number:06}.jpg"
        path.write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2) + comment + data[2:])
        paths.append(str(path))
    return paths


def median_of(work, rounds=ROUNDS):
    """Return the median of so many results."""
    return statistics.median(work() for _ in range(rounds))


def often(work, wait):
    """Return how many times in a second something is done; on a device, queued and then waited for."""
    for _ in range(3):
        work()
    wait()
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < LOOP:
        for _ in range(4):
            work()
        wait()
        times += 4
    return times / (time.perf_counter() - start)


def backbone_of(name, bench, **options):
    """Return a backbone of random parameters in bf16."""
    from fc7.extract import load_backbone

    settings = {"weights": "random:0", "device": bench.device, "precision": "bf16"}
    return load_backbone(name, LAYERS[name], **settings | options)


def forward(bench):
    """Print the table of forward passes."""
    import numpy as np
    import torch

    wait = torch.cuda.synchronize if bench.device == "cuda" else int
    print("\n| forward, bf16 | batch | images/s | on the device alone |\n|---|---|---|---|")
    for name in bench.networks:
        bench.require_time(10)
        backbone = backbone_of(name, bench)
        batch = backbone.batch_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
        there = torch.as_tensor(pixels).to(backbone.device)
        rate = batch * often(lambda backbone=backbone, pixels=pixels: backbone.forward(pixels), wait)
        with torch.inference_mode():
            alone = batch * often(lambda backbone=backbone, there=there: backbone.network(there), wait)
        print(f"| {name} {LAYERS[name]} | {batch} | {rate:.0f} | {alone:.0f} |", flush=True)


def decoders(bench):
    """Print what decodes, alone."""
    print("\n| decoders alone | images/s |\n|---|---|")
    count = os.cpu_count()
    bench.require_time(10)
    print(f"| Pillow, {count} processes | {median_of(lambda: sum(in_processes(bench.files, count))):.0f} |", flush=True)
    if bench.device == "cuda":
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
    begin, found = context.Barrier(count), context.Queue()
    processes = [context.Process(target=decoded, args=(files, begin, found)) for _ in range(count)]
    for process in processes:
        process.start()
    rates = [found.get() for _ in processes]
    for process in processes:
        process.join()
    return rates


def by_engine(files):
    """Return how many files a second the engine decodes, with the resize, in batches of 256."""
    import torch

    from fc7.cache.recipe import Transform
    from fc7.extract.decoding.hardware import Engine

    engine, transform = Engine(torch.device("cuda", 0)), Transform()
    data = [Path(path).read_bytes() for path in files[:2048]]
    parts = [dict(enumerate(data[start : start + 256])) for start in range(0, len(data), 256)]
    pixels = torch.zeros(256, 224, 224, 3, dtype=torch.uint8, device="cuda")
    engine.fill_rows(pixels, parts[0], transform)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for part in parts:
        engine.fill_rows(pixels, part, transform)
    torch.cuda.synchronize()
    return len(data) / (time.perf_counter() - start)


def loader(name, bench, workers):
    """Return images a second of the script that a user would write, without its start, and the vectors of the first."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    backbone = backbone_of(name, bench)
    backbone.load()
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()]
    data = ImageFolder(bench.root / "data", transforms.Compose(steps))
    pinned = bench.device == "cuda"
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # as asked for
    batches = DataLoader(data, BATCH, num_workers=workers, pin_memory=pinned, persistent_workers=False)
    images, rows, start = 0, [], 0.0
    with torch.inference_mode():
        for pixels, _ in batches:
            there = pixels.to(bench.device, non_blocking=True).permute(0, 2, 3, 1)
            (output,) = backbone.network(there)
            vectors = output.float().cpu()
            if start:
                images += len(vectors)
            else:  # the workers are there
                start, rows = time.perf_counter(), [vectors]
    return images / (time.perf_counter() - start), rows[0].numpy()


def loaders(bench):
    """Print the table of the loader; return its best rate and its first vectors by network."""
    best = {}
    print("\n| DataLoader | workers | images/s |\n|---|---|---|")
    for name in bench.networks:
        for workers in WORKERS if name == "alexnet" else (16,):
            bench.require_time(4 * len(bench.files) / 1000)
            rounds = ROUNDS if name == "alexnet" and workers == 16 else 1
            found = [loader(name, bench, workers) for _ in range(rounds)]
            rate = statistics.median(one for one, _ in found)
            best[name] = max(best.get(name, (0.0, None)), (rate, found[0][1]), key=lambda one: one[0])
            print(f"| {name} {LAYERS[name]} | {workers} | {rate:.0f} |", flush=True)
    return best


def extraction(name, bench, decode, number):
    """Return images a second of ``fill``, without loading the network, and the vectors of the first files."""
    from fc7.extract import extract, fill, read_manifest

    backbone = backbone_of(name, bench, decode=decode)
    backbone.load()
    manifest = read_manifest(bench.root / "data")
    cache = bench.root / f"{name} {decode} {number}"
    start = time.perf_counter()
    done = fill(manifest, [backbone], cache=cache)[0]
    seconds = time.perf_counter() - start
    if done.computed != len(bench.files):
        raise SystemExit(f"{done.computed} of {len(bench.files)} were computed")
    return done.computed / seconds, extract(manifest, backbone, cache=cache).vectors[:BATCH]


def extractions(bench, best):
    """Print the table of extractions beside the loader, and how far vectors are apart."""
    import numpy as np

    print("\n| fc7 | decode | images/s | against the best loader | from the loader's vectors |\n|---|---|---|---|---|")
    for name in bench.networks:
        for decode in ("exact", "hardware") if bench.device == "cuda" else ("exact",):
            bench.require_time(ROUNDS * len(bench.files) / 1000)
            found = [extraction(name, bench, decode, number) for number in range(ROUNDS)]
            rate = statistics.median(one for one, _ in found)
            beside, theirs = best.get(name, (float("nan"), None))
            apart = float("nan")
            if theirs is not None:
                ours = found[0][1].astype(np.float32)
                lengths = np.linalg.norm(theirs, axis=1)
                apart = float((np.linalg.norm(ours - theirs, axis=1) / lengths).max())
            print(f"| {name} {LAYERS[name]} | {decode} | {rate:.0f} | {rate / beside:.2f} | {apart:.1e} |", flush=True)


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=16_000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", default=",".join(LAYERS))
    parser.add_argument("--seconds", type=float, default=300.0)
    arguments = parser.parse_args()
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as root:
        bench, best = Bench(arguments, Path(root)), {}
        for part in (forward, decoders, loaders, lambda bench: extractions(bench, best)):
            try:
                best.update(part(bench) or {})
            except Late:
                print("\nNo time was left for the rest of this table.")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
