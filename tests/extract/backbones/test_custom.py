"""Networks of the user's own."""

import copy
import functools

import numpy as np
import pytest
import torch
import torchvision
from fakes import noisy
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fc7.cache.recipe import Transform
from fc7.classify import Bundle, fit
from fc7.errors import BundleError, UsageError
from fc7.extract import Backbone, extract, fill, load_backbone, read_manifest
from fc7.extract.backbones.architectures import architecture

SMALL = Transform(resize=36, crop=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


class Plain(nn.Module):
    """A network that torch.fx can follow."""

    def __init__(self, seed=0, stride=2):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 6, 3, stride=stride, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(6, 5)

    def forward(self, images):
        return self.out(self.act(self.conv(images)).mean((2, 3)))


class Branching(Plain):
    """One that asks for values on its way."""

    def forward(self, images):
        maps = self.conv(images)
        return self.out((maps if maps.sum() > 0 else -maps).amax((2, 3)))


def normalised(transform=SMALL):
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255
    return torchvision.transforms.functional.normalize(images, transform.mean, transform.std)


def made(module, layer="output", **options):
    return Backbone(module, SMALL, layer, device="cpu", batch_size=4, **options)


@pytest.mark.parametrize("kind", [Plain, Branching])
def test_the_vectors_are_what_the_module_returns_in_eval_mode(kind):
    module = kind().train()
    ours = made(module).forward(PIXELS)[0]
    with torch.inference_mode():
        theirs = module.eval()(normalised()).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_nodes_and_pooled_layers_come_from_one_pass():
    module = Plain()
    backbone = made(module, ["conv", "gap", "output"])
    conv, gap, output = backbone.forward(PIXELS)
    assert [recipe.dim for recipe in backbone.recipes] == [6 * 16 * 16, 6, 5]
    assert (conv < 0).any(), "the ReLU in place must not reach it"
    np.testing.assert_allclose(gap, np.maximum(conv.reshape(4, 6, -1), 0).mean(2), atol=1e-5)
    np.testing.assert_allclose(
        gap @ module.out.weight.detach().numpy().T + module.out.bias.detach().numpy(), output, atol=1e-5
    )


def test_the_module_is_left_as_it_was_and_later_changes_do_not_reach_the_backbone():
    module = Plain().train()
    before = made(module).forward(PIXELS)[0]
    assert module.training
    assert module.act.inplace
    assert all(parameter.requires_grad for parameter in module.parameters())
    backbone = made(module)
    nn.init.zeros_(module.out.weight)
    np.testing.assert_array_equal(backbone.forward(PIXELS)[0], before)


def test_the_recipe_has_the_hash_of_parameters_and_structure():
    def weights(module, **options):
        return made(module, **options).recipes[0].weights

    module = Plain()
    assert weights(module) == weights(copy.deepcopy(module)) == weights(Plain())
    assert weights(module, name="other") == weights(module)
    others = [Plain(seed=1), Plain(stride=1), Branching(), nn.Sequential(module, nn.ReLU())]
    assert len({weights(one) for one in [module, *others]}) == 5
    assert made(module).recipes[0].backbone == "Plain"
    assert made(module, name="mine").recipes[0].backbone == "mine"


def test_a_published_network_gives_the_same_rows_by_either_way(cache_dir):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    module = architecture("squeezenet1_1").construct(3)
    preset = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    options = {"device": "cpu", "batch_size": 2}
    ours = Backbone(module, preset, **options)
    published = load_backbone("squeezenet1_1", "logits", weights="random:3", **options)
    np.testing.assert_array_equal(ours.forward(pixels)[0], published.forward(pixels)[0])
    assert ours.recipes[0].transform == published.recipes[0].transform


def test_rows_are_cached_and_a_head_on_them_predicts_with_the_same_module_only(tmp_path, cache_dir):
    for number in range(20):
        noisy(tmp_path / "d" / "ab"[number % 2] / f"{number}.png", (200 * (number % 2), 90, 60), number)
    manifest = read_manifest(tmp_path / "d")
    table = extract(manifest, made(Plain()))
    assert fill(manifest, [made(Plain())])[0].computed == 0
    bundle = Bundle.load(Bundle.of(fit(table, "centroid")).save(tmp_path / "own.fc7"))
    found = bundle.predict(manifest.files, backbone=made(Plain()))
    assert [one.label for one in found] == list(table.labels)
    with pytest.raises(BundleError, match="weights: here"):
        bundle.predict(manifest.files, backbone=made(Plain(seed=1)))
    with pytest.raises(BundleError, match="fitted on Plain, a module that fc7 cannot find by name"):
        bundle.predict(manifest.files)


class Shared(Plain):
    """Layers that are called twice, and a ReLU that follows one of the calls only."""

    def __init__(self):
        super().__init__(stride=1)
        self.mix = nn.Conv2d(6, 6, 3, padding=1)
        self.square = nn.Linear(6, 6)

    def forward(self, images):
        maps = self.mix(torch.relu(self.mix(self.conv(images))))
        return self.square(torch.relu(self.square(maps.mean((2, 3)))))


class Overwriting(Plain):
    """A layer after a ReLU in place that it does not read, but whose input the ReLU has overwritten."""

    def __init__(self, act):
        super().__init__()
        self.positive, self.last = act, nn.Conv2d(6, 5, 1)

    def forward(self, images):
        maps = self.conv(images)
        positive = self.positive(maps)
        return self.last(maps).mean((2, 3)) + self.out(positive.mean((2, 3)))


OVERWRITING = {
    "layer": lambda: nn.ReLU(inplace=True),
    "function": lambda: functools.partial(nn.functional.relu, inplace=True),
    "method": lambda: lambda maps: maps.relu_(),
}


@pytest.mark.parametrize("kind", OVERWRITING)
def test_layers_are_what_they_are_in_the_whole_forward_pass_or_refused(kind):
    module = Overwriting(OVERWRITING[kind]())
    with torch.inference_mode():
        expected = module.eval()(normalised()).numpy()
    np.testing.assert_allclose(made(module).forward(PIXELS)[0], expected, atol=1e-5)
    with pytest.raises(UsageError, match=r"torch\.fx sees another forward pass than Overwriting computes"):
        made(module, "last")


@pytest.mark.parametrize("kind", ["function", "method"])
def test_a_tapped_layer_is_not_overwritten(kind):
    module = Overwriting(OVERWRITING[kind]())
    with torch.inference_mode():
        expected = module.eval().conv(normalised()).flatten(1).numpy()
    for layers in ("conv", ["conv", "output"]):
        np.testing.assert_allclose(made(module, layers).forward(PIXELS)[0], expected, atol=1e-5)


class InPlace(Plain):
    """A forward pass of statements: torch.fx would leave out what nothing reads."""

    def forward(self, images):
        maps = self.conv(images)
        self.act(maps)
        maps.mul_(3)
        return self.out(maps.mean((2, 3)))


def parametrised():
    module = Plain()
    nn.utils.parametrizations.spectral_norm(module.out)
    nn.utils.parametrizations.weight_norm(module.conv)
    return module


def compiled():
    module = Plain()
    module.conv.compile(backend="eager")
    return torch.compile(module, backend="eager")


def script(module):
    with pytest.warns(FutureWarning):
        return torch.jit.script(module.eval())


def trace(module):
    with pytest.warns(FutureWarning):
        return torch.jit.trace(module.eval(), normalised())


RUNNING = {
    "layers called twice": Shared,
    "in place": InPlace,
    "parametrised": parametrised,
    "compiled": compiled,
    "scripted": lambda: script(Branching()),
    "traced": lambda: trace(Plain()),
    "half": lambda: Plain().half().float(),
}


@pytest.mark.parametrize("kind", RUNNING)
def test_modules_of_many_kinds_return_what_they_return(kind):
    module = RUNNING[kind]()
    with torch.inference_mode():
        expected = module.eval()(normalised()).numpy()
    np.testing.assert_allclose(made(module).forward(PIXELS)[0], expected, atol=1e-5)


def test_layers_of_torchscript_and_of_statements_are_refused():
    with pytest.raises(UsageError, match=r"torch\.fx cannot follow the forward pass of"):
        made(script(Plain()), "conv")
    with pytest.raises(UsageError, match=r"torch\.fx sees another forward pass than InPlace computes"):
        made(InPlace(), "conv")


@pytest.mark.parametrize("place", ["", "conv"])
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_refused_wherever_they_are(place, register):
    module = Plain()
    handle = getattr(module.get_submodule(place), register)(lambda *given: None)
    with pytest.raises(UsageError, match=rf"^{'Plain.conv' if place else 'Plain'} has a forward hook.*remove it"):
        made(module)
    handle.remove()
    assert made(module).recipes == made(Plain()).recipes


def test_hooks_for_all_modules_are_refused():
    handle = nn.modules.module.register_module_forward_hook(lambda *given: None)
    try:
        with pytest.raises(UsageError, match="hooks for all modules"):
            made(Plain())
    finally:
        handle.remove()


def test_hooks_for_all_modules_reach_no_vector_of_any_network(cache_dir):
    backbones = [made(Plain()), load_backbone("squeezenet1_1", weights="random:0", device="cpu", batch_size=1)]
    pixels = [PIXELS, np.zeros((1, 224, 224, 3), np.uint8)]
    before = [backbone.forward(one)[0] for backbone, one in zip(backbones, pixels, strict=True)]
    handle = nn.modules.module.register_module_forward_hook(lambda module, given, returned: returned * 2)
    try:
        for backbone, one in zip(backbones, pixels, strict=True):
            with pytest.raises(UsageError, match="hooks for all modules"):
                backbone.forward(one)
    finally:
        handle.remove()
    with FlopCounterMode(display=False):  # it has hooks for all modules, which only count
        for backbone, one, vectors in zip(backbones, pixels, before, strict=True):
            np.testing.assert_array_equal(backbone.forward(one)[0], vectors)


def test_weights_that_a_hook_computes_are_refused_and_the_way_on_is_named():
    module = Plain()
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(module.out)
    with pytest.raises(UsageError, match=r"Plain\.out has a forward hook.*torch\.nn\.utils\.parametrizations"):
        made(module)


class Drawing(Plain):
    def forward(self, images):
        return nn.functional.dropout(super().forward(images), 0.1, training=True)


class Counting(Plain):
    calls = 0

    def forward(self, images):
        self.calls += 1
        return super().forward(images) * self.calls


class Noisy(Plain):
    """Noise that does not depend on the images: torch.fx would draw it once."""

    def forward(self, images):
        return super().forward(images) + torch.rand(1)


class Batched(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(6, track_running_stats=False)

    def forward(self, images):
        return self.out(self.norm(self.conv(images)).mean((2, 3)) ** 2)


class Neighbours(Plain):
    def forward(self, images):
        rows = super().forward(images)
        return rows + rows.mean(0)


class InPairs(Plain):
    def forward(self, images):
        return super().forward(images).reshape(-1, 2, 5).flatten(0, 1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Drawing, "Drawing returns other numbers when it sees the same images again"),
        (Counting, "Counting returns other numbers when it sees the same images again"),
        (Noisy, "Noisy returns other numbers when it sees the same images again"),
        (Batched, "Batched returns other numbers for an image when other images are beside it"),
        (Neighbours, "Neighbours returns other numbers for an image when other images are beside it"),
        (InPairs, "InPairs takes two images and not one"),
    ],
)
def test_rows_that_depend_on_chance_or_on_their_neighbours_are_refused(kind, message):
    for layer in ("output", "conv"):
        with pytest.raises(UsageError, match=message) as caught:
            made(kind(), layer)
        assert "\n" not in str(caught.value)


def test_looking_at_a_module_draws_nothing_from_the_callers_generator():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with pytest.raises(UsageError):
        made(Drawing())
    assert torch.equal(torch.get_rng_state(), before) or torch.manual_seed(0)


class Pair(Plain):
    def forward(self, images):
        return images, images


class Named(Plain):
    """Returns tensors by their names, as transformers of Hugging Face do."""

    def forward(self, images):
        return {"last_hidden_state": images.flatten(2), "pooler_output": images.mean((2, 3)), "attentions": None}


class Spectrum(Plain):
    def forward(self, images):
        return torch.fft.rfft2(images)


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        (Plain(), "conv9", "Plain has no layer 'conv9'. Layers: output, gap"),
        (Branching(), "conv", "torch.fx cannot follow the forward pass of Branching"),
        (Pair(), "output", "Pair returns a tuple"),
        (Named(), "output", r"a dict with last_hidden_state \(2, 3, 1024\), pooler_output \(2, 3\); one row per image"),
        (Spectrum(), "output", "Spectrum returns complex numbers"),
        (nn.Conv2d(1, 1, 1), "output", "cannot take images of 32 x 32 pixels"),
        (nn.Flatten(), "gap", "no layer with a height and a width"),
    ],
)
def test_what_cannot_be_tapped_is_said(module, layer, message):
    with pytest.raises(UsageError, match=message):
        made(module, layer)
