"""The section of fine-tuning in ``benchmarks/cuda.py``: an epoch of fc7 beside one of a plain loop, on the same files.

    python benchmarks/cuda_training.py FOLDER [--device cuda] [--network alexnet] [--workers 16] [--batch 64]
                                              [--files 4000] [--epochs 4] [--precision bf16]

FOLDER has class folders of photographs. The plain loop is ``ImageFolder``, ``RandomResizedCrop``, a mirror image and a
``DataLoader`` with so many workers that stay, pinned memory, autocast and SGD, as tutorials have it; fc7's is the loop
of ``fc7 finetune --trainable all``. Both train the same network from the same random parameters on all files. The first
epoch, which starts the workers, does not count; the figure is the median of the others. The loss is that of the last
epoch, so that a loop that does not train is seen.
"""

import argparse
import itertools
import statistics
import time
import warnings
from dataclasses import replace

import torch

CLASSES = 10


def network(name):
    """Return a network of torchvision with random parameters."""
    import torchvision

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torchvision.models.get_model(name, weights=None, num_classes=CLASSES)


def plain_epochs(folder, name, options):
    """Return the seconds of each epoch of the plain loop, and the mean loss of the last."""
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    device, bf16 = torch.device(options.device), options.precision == "bf16"
    warnings.filterwarnings("ignore", message="This DataLoader will create")  # as asked for
    normalise = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    steps = [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), transforms.ToTensor(), normalise]
    data = ImageFolder(folder, transforms.Compose(steps))
    data = Subset(data, range(min(options.files, len(data))))
    loader = DataLoader(
        data, options.batch, shuffle=True, num_workers=options.workers, pin_memory=device.type == "cuda",
        persistent_workers=options.workers > 0,
    )  # fmt: skip
    module = network(name).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(module.parameters(), lr=0.003, momentum=0.9, weight_decay=1e-4)
    seconds, loss_sum, count = [], 0.0, 0
    for _epoch in range(options.epochs):
        start, loss_sum, count = time.perf_counter(), 0.0, 0
        for pixels, y in loader:
            there, target = pixels.to(device, non_blocking=True), (y % CLASSES).to(device, non_blocking=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = torch.nn.functional.cross_entropy(module(there), target)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            loss_sum, count = loss_sum + loss.item(), count + 1
        seconds.append(time.perf_counter() - start)
    return seconds, loss_sum / count


def our_epochs(folder, name, options, cache):
    """Return the seconds of each epoch of fc7's loop, and the mean loss of the last."""
    import numpy as np

    from fc7.cache.recipe import Transform
    from fc7.classify.finetuning.inputs import Pixels, usable
    from fc7.classify.finetuning.training_loop import train
    from fc7.classify.finetuning.training_task import TrainingTask
    from fc7.classify.settings import Training
    from fc7.extract import load_backbone, read_manifest
    from fc7.extract.backbones.network import Normalised
    from fc7.extract.backbones.torch_runtime import find_device
    from fc7.extract.manifest.hashing import Hashed

    manifest = read_manifest(folder)
    manifest = replace(manifest, images=manifest.images[: options.files])
    rows = usable(Hashed.of(manifest, cache), None)  # what is no image is left out by both
    recipe = load_backbone("alexnet", weights="random:0", device="cpu").recipes[0]  # for its transform
    assert isinstance(recipe.transform, Transform)
    device, ends = find_device(options.device), [time.perf_counter()]
    module = Normalised(network(name), recipe.transform).to(device, memory_format=torch.channels_last)
    none = np.arange(0)
    with Pixels(
        manifest.root, rows, recipe, augment=True, seed=0, workers=options.workers or None,
        processes=device.type != "cpu" or options.processes,
    ) as pixels:  # fmt: skip
        task = TrainingTask(
            module=module, parts=[module], new=frozenset(), inputs=pixels, y=np.asarray(rows.y) % CLASSES,
            fitted=np.arange(len(rows)), held=none, watched=none, device=device, bf16=options.precision == "bf16",
            options=Training(epochs=options.epochs, batch_size=options.batch, learning_rate=0.003, backbone_rate=1.0,
                             schedule="constant"),
            until=options.epochs,
        )  # fmt: skip
        ends = [time.perf_counter()]
        state = train(task, on_epoch=lambda _: ends.append(time.perf_counter()))
    return [end - start for start, end in itertools.pairwise(ends)], state.curves[-1]["train_loss"]


def training(folder, name, options, cache):
    """Print the table."""
    print(f"\n| an epoch of {name}, {options.precision} | images/s | ratio | loss |\n|---|---|---|---|", flush=True)
    seconds, loss = plain_epochs(folder, name, options)
    plain, images = statistics.median(seconds[1:]), counted(folder, options.files)
    print(f"| a plain loop, {options.workers} workers | {images / plain:.0f} | 1 | {loss:.2f} |", flush=True)
    seconds, loss = our_epochs(folder, name, options, cache)
    ours = statistics.median(seconds[1:])
    print(f"| fc7 | {images / ours:.0f} | {plain / ours:.2f} | {loss:.2f} |", flush=True)


def counted(folder, most):
    """Return how many files are trained on."""
    from torchvision.datasets import ImageFolder

    return min(len(ImageFolder(folder)), most)


def options_of(words=()):
    """Return the options, by default those of the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--network", default="alexnet")
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--files", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--processes", action="store_true", help="decode in processes on a processor, too")
    return parser.parse_args(words)


def main():
    """Measure and print."""
    import sys
    import tempfile

    options = options_of(sys.argv[1:])
    with tempfile.TemporaryDirectory() as cache:
        training(options.folder, options.network, options, cache)


if __name__ == "__main__":
    main()
