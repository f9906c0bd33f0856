"""What a CUDA device computes in a second, and what it takes to decode for it.

    python benchmarks/cuda.py DATA [--device cuda]

DATA is a folder of photographs. The first table is of forward passes on ready pixels, random parameters: as extraction
runs them, one batch after the other with its copies there and back, and on the device alone; and the most memory that
torch took. The second is of reading and decoding, in the threads of one Python and in as many processes. How fast an
extraction is beside a plain script: ``benchmarks/extract.py --device cuda``.
"""

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LAYERS = {"alexnet": "fc7", "vgg16": "fc7", "squeezenet1_1": "gap", "resnet50": "penultimate"}
BATCHES = (32, 128, 256)
SECONDS = 1.0  # of each measurement
PHOTOGRAPHS = 100


def forward(device):
    """Print the table of forward passes."""
    import numpy as np
    import torch

    from fc7.extract import load_backbone
    from fc7.extract.backbones.torch_runtime import exact_float32

    print("| network | precision | batch | images/s | on the device alone | GB |\n|---|---|---|---|---|---|")
    for name, layer in LAYERS.items():
        for precision in ("fp32", "bf16"):
            for batch in BATCHES:
                options = {"weights": "random:0", "device": device, "precision": precision, "batch_size": batch}
                backbone = load_backbone(name, layer, **options)
                pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
                there = torch.as_tensor(pixels).to(backbone.device)
                rate = batch * often(lambda backbone=backbone, pixels=pixels: backbone.forward(pixels))
                if device == "cuda":
                    torch.cuda.reset_peak_memory_stats()
                with torch.inference_mode(), exact_float32():
                    alone = batch * often(lambda backbone=backbone, there=there: backbone.network(there), device)
                memory = f"{torch.cuda.max_memory_allocated() / 1e9:.1f}" if device == "cuda" else ""
                print(f"| {name} {layer} | {precision} | {batch} | {rate:.0f} | {alone:.0f} | {memory} |", flush=True)


def often(work, device="cpu"):
    """Return how many times in a second something is done; on a device, queued and then waited for."""
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else int
    for _ in range(3):
        work()
    wait()
    start, times = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        for _ in range(4):
            work()
        wait()
        times += 4
    return times / (time.perf_counter() - start)


def decoding(data):
    """Print the table of decoders."""
    files = [str(path) for path in sorted(data.rglob("*.jp*g"))[:PHOTOGRAPHS]]
    print("\n| decoders | threads, images/s | processes, images/s |\n|---|---|---|")
    counts = sorted({1, 2, 4, 8, 16, os.cpu_count()})
    for count in (count for count in counts if count <= os.cpu_count()):
        with ThreadPoolExecutor(count) as pool:
            threads = sum(pool.map(decoded, [files] * count))
        print(f"| {count} | {threads:.0f} | {sum(in_processes(files, count)):.0f} |", flush=True)


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
    while time.perf_counter() - start < SECONDS:
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


def main():
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--device", default="cuda")
    arguments = parser.parse_args()
    forward(arguments.device)
    decoding(arguments.data)


if __name__ == "__main__":
    main()
