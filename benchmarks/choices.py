"""Why extraction is built as it is: the alternatives that were not taken, side by side.

    python benchmarks/choices.py DATA [--rounds 5] [--json FILE]

decode   one core, milliseconds per photograph and part: Pillow against torchvision.io and its resizing of tensors, and
         how many pixels of the two differ
forward  all cores, milliseconds per image on ready pixels: torch as it is, channels last, with packed layers, with kept
         memory; one network over all cores against one per core
products GFLOP/s of a product of matrices and of a convolution, float32 and bfloat16, all cores

Everything is measured in one run, in turns; medians of the rounds. Parameters are random: speed does not ask.
"""

import argparse
import contextlib
import io
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from fc7.extract import read_manifest
from fc7.extract.backbones.architectures import architecture
from fc7.extract.backbones.layers import Layer
from fc7.extract.backbones.network import Normalised, Tapped
from fc7.extract.backbones.torch_runtime import each_with
from fc7.extract.engines.malloc import keep_freed_memory
from fc7.extract.machine import cores

IMAGES = 100
BATCHES = {"alexnet": (16, "classifier.5"), "squeezenet1_1": (16, "features"), "vgg16": (8, "classifier.4")}
READY = 1.5  # seconds of forward passes


def decoding(data, rounds):
    """Time the parts of decoding."""
    from PIL import Image
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    from fc7.cache.recipe import Transform
    from fc7.extract.decoding.decode import decode, read_image_bytes
    from fc7.extract.decoding.views import centre_crop

    torch.set_num_threads(1)
    paths = [path for path in read_manifest(data).files if path.endswith(".jpg")][:IMAGES]
    files = [read_image_bytes(path) for path in paths]
    tensors = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    images, decoded = [decode(file) for file in files], [decode_jpeg(one, ImageReadMode.RGB) for one in tensors]

    def cropped(image):
        return functional.center_crop(functional.resize(image, [256], antialias=True), [224])

    steps = {
        "read": (read_image_bytes, paths),
        "Pillow, decode": (lambda file: Image.open(io.BytesIO(file)).convert("RGB"), files),
        "fc7, decode with all checks": (decode, files),
        "torchvision.io, decode": (lambda one: decode_jpeg(one, ImageReadMode.RGB), tensors),
        "Pillow, resize and crop": (lambda image: centre_crop(image, Transform()), images),
        "torchvision tensor, resize and crop": (cropped, decoded),
    }
    times = {name: [] for name in steps}
    for _ in range(rounds):
        for name, (work, inputs) in steps.items():
            start = time.perf_counter()
            for one in inputs:
                work(one)
            times[name].append((time.perf_counter() - start) / len(inputs) * 1e3)
    exact = np.stack([centre_crop(image, Transform()) for image in images])
    tensor = np.stack([cropped(image).permute(1, 2, 0).numpy() for image in decoded])
    difference = np.abs(exact.astype(int) - tensor)
    found = {name: statistics.median(several) for name, several in times.items()}
    return found | {"pixels that differ": float((difference > 0).mean()), "by at most": int(difference.max())}


def forward(rounds):
    """Time the ways to run a network."""
    found = {}
    for name, (batch, node) in BATCHES.items():
        ways = {
            "as it is, all cores": (made(name, node), False, False),
            "channels last, all cores": (made(name, node, last=True), False, False),
            "channels last, one per core": (made(name, node, last=True), True, False),
            "packed, all cores": (made(name, node, last=True, pack=batch), False, False),
            "packed, one per core": (made(name, node, last=True, pack=batch), True, False),
            "packed, one per core, memory kept": (made(name, node, last=True, pack=batch), True, True),
        }
        times = {way: [] for way in ways}
        for _ in range(rounds):
            for way, (network, apart, keep) in ways.items():
                times[way].append(milliseconds(network, batch, apart=apart, keep=keep))
        found[name] = {way: statistics.median(several) for way, several in times.items()}
    return found


def made(name, node, *, last=False, pack=0):
    """Return a network from pixels to vectors."""
    net = architecture(name)
    cut = net.cut([Layer(node, 0)])
    cut.load_state_dict(
        {key: value for key, value in net.initialise(0).items() if key in cut.state_dict()}, assign=True
    )
    network = Normalised(Tapped(cut, [Layer(node, 0)]), net.transform).eval().requires_grad_(False)
    network = network.to(memory_format=torch.channels_last) if last else network
    if pack:
        network.pack(pack)
    return network


def milliseconds(network, batch, *, apart, keep):
    """Return the time per image, with one network over all cores or one per core."""
    threads = cores() if apart else 1
    pixels = torch.randint(0, 256, (batch, network.crop, network.crop, 3), dtype=torch.uint8)

    def work(_):
        count, start = 0, time.perf_counter()
        with torch.inference_mode():
            network(pixels)
            start = time.perf_counter()
            while time.perf_counter() - start < READY:
                network(pixels)
                count += batch
        return count / (time.perf_counter() - start)

    with (
        keep_freed_memory() if keep else contextlib.nullcontext(),
        each_with(1 if apart else cores()) as begin,
        ThreadPoolExecutor(threads, initializer=begin) as pool,
    ):
        return 1e3 / sum(pool.map(work, range(threads)))


def products(rounds):
    """Return GFLOP/s by dtype: what the processor's instructions are worth."""
    torch.set_num_threads(cores())
    side, batch, channels, maps = 2048, 16, 256, 28
    works = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.randn(side, side).to(dtype)
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(dtype).to(memory_format=torch.channels_last)
        images = torch.randn(batch, channels, maps, maps).to(dtype).to(memory_format=torch.channels_last)
        name = str(dtype).removeprefix("torch.")
        works[f"matrices, {name}"] = (lambda matrix=matrix: matrix @ matrix, 2 * side**3)
        flops = 2 * batch * maps**2 * channels**2 * 9
        works[f"convolution, {name}"] = (lambda layer=layer, images=images: layer(images), flops)
    times = {name: [] for name in works}
    with torch.inference_mode():
        for _ in range(4 * rounds):
            for name, (work, _) in works.items():
                start = time.perf_counter()
                work()
                times[name].append(time.perf_counter() - start)
    return {name: works[name][1] / statistics.median(several) / 1e9 for name, several in times.items()}


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = {"products": products(arguments.rounds), "decode": decoding(arguments.data, arguments.rounds)}
    found["forward"] = forward(arguments.rounds)
    for name, value in (found["products"] | found["decode"]).items():
        print(f"| {name} | {value:.4g} |")
    for name, ways in found["forward"].items():
        for way, value in ways.items():
            print(f"| {name} | {way} | {value:.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
