"""What a CUDA device does in fc7, in one run: a plain loader, both ways to decode, their bounds, heads, fine-tuning.

    python benchmarks/cuda.py FOLDER [--files 16000] [--device cuda] [--seconds 335] [--networks alexnet,vgg16,resnet50]
                                     [--rows 20000 180000] [--dim 4096]

FOLDER has 100 photographs (``benchmarks/pack_cuda.py`` makes it). They are multiplied to files with distinct bytes, by
a comment of its own in each, because equal bytes are computed once, in memory-backed storage. Sections:

- Pillow in as many processes as cores, and the device's JPEG engine with the resize beside it;
- by network: ``ImageFolder`` and a ``DataLoader`` with 16 workers, pinned memory and batches of 128, and
  ``fc7.extract.fill`` with ``decode="exact"`` and ``"hardware"``, in turns, each with the start of its workers and
  without loading the network; how far the vectors are from the loader's; for the first network the loader with 8 and 32
  workers, too; half of the files for these and for the other networks;
- whether the device's resize is Pillow's to the bit, and how far the engine's pixels are from the processor's;
- heads, see ``benchmarks/cuda_heads.py``, and an epoch of fine-tuning, see ``benchmarks/cuda_training.py``;
- forward passes on ready pixels, as extraction runs them, and on the device alone.

Each figure is the median of three, if nothing else is said, with random parameters, which cost what real ones do. Each
section has a share of the time, and what those before it left. What it has is printed as it goes; where no time is left
or something fails, a line says so, and the next section begins. Without a device, ``--device cpu`` tries everything but
the engine, on few files and rows.
"""

import argparse
import contextlib
import copy
import faulthandler
import functools
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for an interpreter that is safe from what lies beside a script

from cuda_decoding import LOOP, PATIENCE, ROUNDS, decoders
from cuda_heads import Late, heads

LAYERS = {"alexnet": "fc7", "vgg16": "fc7", "resnet50": "penultimate"}
WORKERS = (16, 8, 32)  # the first is measured three times, and for all networks
BATCH = 128  # of the loader


class Bench:
    """The files, the device, and how long it may go on."""

    def __init__(self, arguments, root):
        self.device, self.root, self.networks = arguments.device, root, arguments.networks.split(",")
        self.cuda = arguments.device.startswith("cuda")
        self.rows, self.dim = arguments.rows, arguments.dim
        self.end = arguments.start + arguments.seconds
        self.files = multiplied(arguments.folder / "photographs", root / "data" / "photographs", arguments.files)
        (root / "half" / "photographs").mkdir(parents=True)
        for path in self.files[::2]:
            os.link(path, root / "half" / "photographs" / Path(path).name)

    def folder(self, name):
        """Return the folder of the files for a network, and how many they are."""
        first = name == self.networks[0]
        return self.root / ("data" if first else "half"), len(self.files if first else self.files[::2])

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


@functools.cache
def backbone_of(name, bench, decode="exact"):
    """Return a backbone of random parameters in bf16, loaded."""
    from fc7.cache.recipe import DECODES
    from fc7.extract import load_backbone

    if decode == "exact":
        settings = {"weights": "random:0", "device": bench.device, "precision": "bf16"}
        backbone = load_backbone(name, LAYERS[name], **settings)
        backbone.load()
        return backbone
    loaded = backbone_of(name, bench)  # the same parameters, which take seconds to make
    backbone = copy.copy(loaded)
    backbone.recipes = tuple(replace(recipe, decode=DECODES[decode]) for recipe in loaded.recipes)
    vars(backbone)["network"] = loaded.network
    return backbone


def forward(bench):
    """Print the table of forward passes."""
    import numpy as np
    import torch

    wait = torch.cuda.synchronize if bench.cuda else int
    print("\n| forward, bf16 | batch | images/s | on the device alone |\n|---|---|---|---|")
    for name in bench.networks:
        bench.require_time(4)
        backbone = backbone_of(name, bench)
        batch = backbone.batch_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
        there = torch.as_tensor(pixels).to(backbone.device)
        rate = batch * often(lambda backbone=backbone, pixels=pixels: backbone.forward(pixels), wait)
        with torch.inference_mode():
            alone = batch * often(lambda backbone=backbone, there=there: backbone.network(there), wait)
        print(f"| {name} {LAYERS[name]} | {batch} | {rate:.0f} | {alone:.0f} |", flush=True)


def loader(name, bench, workers, folder):
    """Run the script that a user would write; return its seconds, with the start of its workers, and first vectors."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    network = backbone_of(name, bench).network
    steps = [transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()]
    data = ImageFolder(folder, transforms.Compose(steps))
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # as asked for
    rows, start = [], time.perf_counter()
    with torch.inference_mode():
        for pixels, _ in DataLoader(data, BATCH, num_workers=workers, pin_memory=bench.cuda):
            there = pixels.to(bench.device, non_blocking=True).permute(0, 2, 3, 1)
            rows.append(network(there)[0].float().cpu().numpy())
    return time.perf_counter() - start, rows[0]


def network(name, bench):
    """Print the tables of a network: the loader and fc7 in turns, as often as there is time for, then other loaders."""
    (folder, count), cores = bench.folder(name), WORKERS[0]
    ways = {f"DataLoader, {cores} workers": lambda _: loader(name, bench, cores, folder)}
    for decode in ("exact", "hardware") if bench.cuda else ("exact",):
        ways[decode] = lambda number, decode=decode: extraction(name, bench, decode, number)
    seconds, vectors, lasted = {way: [] for way in ways}, {}, {}
    with contextlib.suppress(Late):
        for number in range(ROUNDS):
            for way, work in list(ways.items()):
                begin = time.monotonic()
                bench.require_time(1.2 * lasted.get(way, count / 2000))
                try:
                    took, some = work(number)
                except (Exception, SystemExit):
                    print(f"\n{name}, {way} failed: {traceback.format_exc(limit=-3)}", flush=True)
                    del ways[way]
                    continue
                seconds[way].append(took)
                vectors.setdefault(way, some)
                lasted[way] = time.monotonic() - begin
                print(f"{name}, {way}: {count / took:.0f} images/s", flush=True)
    theirs, *_ = seconds
    print(f"\n| {name} {LAYERS[name]}, {count} files | images/s | against the loader | from its vectors | rounds |")
    print("|---|---|---|---|---|")
    for way, found in seconds.items():
        if found:
            best = statistics.median(seconds[theirs] or [float("nan")])
            rate = statistics.median(found)
            far = f"{apart(vectors[way], vectors[theirs]):.1e}" if way != theirs and theirs in vectors else ""
            print(f"| {way} | {count / rate:.0f} | {best / rate:.2f} | {far} | {len(found)} |", flush=True)
    for workers in WORKERS[1:] if name == bench.networks[0] else ():
        bench.require_time(count / 1000)
        rate = len(bench.files[::2]) / loader(name, bench, workers, bench.root / "half")[0]
        print(f"| DataLoader, {workers} workers, half of the files | {rate:.0f} | | | 1 |", flush=True)


def apart(ours, theirs):
    """Return the largest distance between two vectors of an image, as a share of their length."""
    import numpy as np

    difference = np.linalg.norm(ours.astype(np.float32) - theirs, axis=1)
    return float((difference / np.linalg.norm(theirs, axis=1)).max())


def extraction(name, bench, decode, number):
    """Return the seconds of ``fill``, without loading the network, and the vectors of the first files once."""
    from fc7.extract import extract, fill, read_manifest

    backbone = backbone_of(name, bench, decode)
    folder, count = bench.folder(name)
    manifest = read_manifest(folder)
    cache = bench.root / f"{name} {decode} {number}"
    start = time.perf_counter()
    done = fill(manifest, [backbone], cache=cache)[0]
    seconds = time.perf_counter() - start
    if done.computed != count:
        raise SystemExit(f"{done.computed} of {count} were computed: {done.rejects[:3]}")
    if not number:
        print(f"{name}, {decode}, seconds of threads by stage: {done.seconds}", flush=True)
    return seconds, None if number else extract(manifest, backbone, cache=cache).vectors[:BATCH]


def equality(bench):
    """Print how far the device's pixels are from the processor's: after its resize, and after its JPEG engine."""
    import numpy as np
    import torch

    from fc7.cache.recipe import Transform
    from fc7.extract.decoding.decode import decode
    from fc7.extract.decoding.device_resize import Decoded, Resizer, can_resize
    from fc7.extract.decoding.hardware import Engine, takes
    from fc7.extract.decoding.views import centre_crop

    device, transform = torch.device(bench.device), Transform()
    data = [Path(path).read_bytes() for path in bench.files[: 100 if bench.cuda else 4]]
    images = [decode(one) for one in data]
    here = np.stack([centre_crop(image, transform) for image in images])
    fit = [number for number, image in enumerate(images) if can_resize(*image.size, transform)]
    print("\n| pixels of the device | photographs | same bits | levels apart, at most |\n|---|---|---|---|", flush=True)
    there = [torch.from_numpy(np.asarray(images[number]).copy()).to(device) for number in fit]
    pixels = torch.zeros(len(images), 224, 224, 3, dtype=torch.uint8, device=device)
    pictures = [Decoded(one.data_ptr(), one.shape[1], one.shape[0], one.shape[1] * 3, one) for one in there]
    Resizer(transform, device)(pictures, fit, pixels)
    compared("resize", pixels.cpu().numpy()[fit], here[fit])
    if bench.cuda:
        files = {number: file for number in fit if (file := takes(data[number], transform))}
        engine = Engine(torch.device("cuda", 0))
        engine.check()
        pixels, left = engine.pixels_of(files, transform, len(images))
        rows = [number for number in files if number not in left]
        compared(f"JPEG engine, {len(left)} left to the processor", pixels.cpu().numpy()[rows], here[rows])


def compared(what, there, here):
    """Print a line of the table of pixels."""
    levels = abs(there.astype(int) - here.astype(int)).max(axis=(1, 2, 3))
    print(f"| {what} | {len(levels)} | {(levels == 0).sum()} | {levels.max(initial=0)} |", flush=True)


def finetuning(bench):
    """Print an epoch of fc7 and of a plain loop."""
    from cuda_training import options_of, training

    bench.require_time(20)
    folder, count = bench.root / "half", len(bench.files[::2])
    options = options_of(["--device", bench.device, "--files", str(min(count, 4000))])
    training(folder, bench.networks[0], options, bench.root / "training")


def sections(bench):
    """Return the sections with their shares of the time, the most important first."""
    first, *others = bench.networks
    yield "decoders", 14, decoders
    yield first, 90, lambda bench: network(first, bench)
    yield "equality", 7, equality
    yield "heads", 110, all_heads
    yield "fine-tuning", 36, finetuning
    for name in others:
        yield name, 36, lambda bench, name=name: network(name, bench)
    yield "forward", 10, forward


def all_heads(bench):
    """Print the table of heads."""
    from fc7.extract.computing import computing

    with computing():
        heads(bench.device, bench.rows, bench.dim, bench.end)


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=16_000)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--networks", default=",".join(LAYERS))
    parser.add_argument("--seconds", type=float, default=335.0)
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 180_000])
    parser.add_argument("--dim", type=int, default=4096)
    arguments = parser.parse_args()
    if not arguments.device.startswith("cuda"):
        os.environ["TRITON_INTERPRET"] = "1"
    arguments.start, shared = time.monotonic(), Path("/dev/shm")
    signal.signal(signal.SIGALRM, hangs)
    faulthandler.dump_traceback_later(arguments.seconds + 2 * PATIENCE, exit=True)  # whatever hangs
    room = shared.is_dir() and shutil.disk_usage(shared).free > 2 * 130_000 * arguments.files
    with tempfile.TemporaryDirectory(dir=shared if room else None) as root:
        bench = Bench(arguments, Path(root))
        machine(bench)
        begun, last, share = time.monotonic(), bench.end, 0
        total = sum(seconds for _, seconds, _ in sections(bench))
        for name, seconds, section in sections(bench):
            share += seconds
            bench.end = begun + (last - begun) * share / total
            run(name, section, bench)
    print(f"\n{time.monotonic() - arguments.start:.0f} seconds in all.", flush=True)


def run(name, section, bench):
    """Run a section; whatever happens in it, the others are run, too, also where it hangs in a lock."""
    begin = time.monotonic()
    signal.alarm(max(int(bench.end - begin), 0) + PATIENCE)
    try:
        section(bench)
    except Late:
        print(f"\nNo time was left for the rest of: {name}.", flush=True)
    except (Exception, SystemExit):
        print(f"\n{name} failed: {traceback.format_exc(limit=-3)}", flush=True)
    signal.alarm(0)
    print(f"\n({name}: {time.monotonic() - begin:.0f} seconds)", flush=True)


def hangs(*_):
    """End a section that is far beyond its time."""
    raise TimeoutError("it took too long")


def machine(bench):
    """Print what it is measured on."""
    import torch

    gpu = torch.cuda.get_device_name() if bench.cuda else "no GPU"
    print(f"{gpu}, {os.cpu_count()} cores, {processor()}; torch {torch.__version__}, Python "
          f"{platform.python_version()}, {len(bench.files)} files in {bench.root.parent}.", flush=True)  # fmt: skip


def processor():
    """Return what the processor is called."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(": ")[2]
    return platform.processor()


if __name__ == "__main__":
    main()
