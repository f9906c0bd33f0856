"""Two modules with other numbers have other fingerprints; the same module has one in every process."""

import collections
import copy
import enum
import functools
import math
import os
import subprocess
import sys
import threading
import types
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fc7.errors import UsageError
from fc7.extract.backbones.fingerprint import fingerprint

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class How(enum.Enum):
    MEAN = "mean"
    MAX = "max"


class Config:
    """What many modules have instead of numbers of their own."""

    def __init__(self, scale):
        self.scale = scale
        self.nested = {"scales": [scale, (scale, 2)]}


Sizes = collections.namedtuple("Sizes", "width height")


class Net(nn.Module):
    """A module that computes with attributes of all kinds."""

    def __init__(self, seed=0, **attributes):
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.inner = nn.Sequential(nn.BatchNorm2d(4), nn.GELU())
        self.register_buffer("kept", torch.ones(4))
        self.register_buffer("offset", torch.zeros(4), persistent=False)
        self.scale, self.how, self.act, self.dtype = 1.0, How.MEAN, functional.relu, torch.float32
        self.steps, self.table = [1, 2], {"a": 1.0, "b": 2.0}
        self.plain, self.array = torch.ones(4), np.ones(4, np.float32)
        self.config, self.sizes, self.names = Config(1.0), Sizes(2, 3), {"x", "y", "z"}
        self.partial, self.method = functools.partial(functional.leaky_relu, negative_slope=0.1), math.sqrt
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, images):
        maps = self.act(self.inner(self.conv(images))).to(self.dtype).float()
        rows = maps.mean((2, 3)) if self.how is How.MEAN else maps.amax((2, 3))
        rows = rows * self.scale * self.plain * self.kept + self.offset + torch.from_numpy(self.array)
        rows = self.partial(rows - 1.2) * self.config.scale * self.config.nested["scales"][1][0]
        for number, factor in enumerate([*self.steps, *self.table.values()]):
            rows = rows * factor + number * len(self.names)
        return self.method(4.0 + self.sizes.width) * rows


def returned(module):
    with torch.inference_mode():
        return module.eval()(IMAGES)


def of(module):
    return fingerprint(module.eval())


def scaled_by(factor):
    return lambda rows: functional.relu(rows) * factor


CHANGES = {
    "seed": lambda draw: Net(seed=draw(st.integers(0, 3))),
    "a number": lambda draw: Net(scale=draw(st.sampled_from([1.0, 2.0, 0.5, 1, -1.0]))),
    "an enum": lambda draw: Net(how=draw(st.sampled_from(list(How)))),
    "a function": lambda draw: Net(act=draw(st.sampled_from([functional.relu, functional.gelu, torch.tanh]))),
    "a closure": lambda draw: Net(act=scaled_by(draw(st.sampled_from([1.0, 2.0, 3.0])))),
    "a lambda of one line": lambda draw: Net(act=draw(st.sampled_from([lambda x: x * 2, lambda x: x * 3]))),
    "a dtype": lambda draw: Net(dtype=draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float16]))),
    "a list": lambda draw: Net(steps=draw(st.lists(st.sampled_from([1, 2, 3]), max_size=3))),
    "a dict": lambda draw: Net(table=draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from([1.0, 2.0])))),
    "a set": lambda draw: Net(names=draw(st.sets(st.sampled_from("uvwxyz")))),
    "a tensor": lambda draw: Net(plain=torch.full((4,), draw(st.sampled_from([1.0, 2.0])))),
    "an array": lambda draw: Net(array=np.full(4, draw(st.sampled_from([1.0, 2.0])), np.float32)),
    "a buffer": lambda draw: _buffer(Net(), "kept", draw(st.sampled_from([1.0, 5.0]))),
    "a buffer that is not saved": lambda draw: _buffer(Net(), "offset", draw(st.sampled_from([0.0, 1.0, 5.0]))),
    "a configuration": lambda draw: Net(config=Config(draw(st.sampled_from([1.0, 2.0])))),
    "a tuple with names": lambda draw: Net(sizes=Sizes(draw(st.sampled_from([2, 5])), 3)),
    "a partial": lambda draw: Net(
        partial=functools.partial(functional.leaky_relu, negative_slope=draw(st.sampled_from([0.1, 0.3])))
    ),
    "a function of C": lambda draw: Net(method=draw(st.sampled_from([math.sqrt, math.exp, math.log]))),
    "an attribute of a layer": lambda draw: _inside(Net(), "inner.0", "eps", draw(st.sampled_from([1e-5, 0.5]))),
    "a padding": lambda draw: _inside(Net(), "conv", "dilation", draw(st.sampled_from([(1, 1), (2, 2)]))),
    "a layer": lambda draw: _set(Net(), "inner.1", draw(st.sampled_from([nn.GELU(), nn.GELU("tanh"), nn.SiLU()]))),
    "a forward pass of its own": lambda draw: _patched(Net(), draw(st.sampled_from([1.0, 3.0]))),
}


def _buffer(module, name, number):
    getattr(module, name).fill_(number)
    return module


def _inside(module, path, name, value):
    setattr(module.get_submodule(path), name, value)
    return module


def _set(module, path, layer):
    module.set_submodule(path, layer)
    return module


def _patched(module, factor):
    module.conv.forward = types.MethodType(lambda self, images: factor * images.repeat(1, 2, 1, 1)[:, :4], module.conv)
    return module


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=12)
@given(data=st.data())
def test_modules_that_return_other_numbers_have_other_fingerprints(change, data):
    one, other = CHANGES[change](data.draw), CHANGES[change](data.draw)
    if not torch.equal(returned(one), returned(other)):
        assert of(one) != of(other)
    assert of(copy.deepcopy(one)) == of(one)


def test_the_same_module_made_twice_has_one_fingerprint():
    assert of(Net()) == of(Net())
    module = Net()
    before = of(module)
    returned(module)
    assert of(module) == before


# Pairs of an audit: each had one recipe, and vectors that differ.


def seeded(make, *given, **options):
    torch.manual_seed(0)
    return make(*given, **options)


class Tokens(nn.Module):
    """A wrapper of a transformer, which torch.fx cannot follow, and which takes its class token or the mean."""

    def __init__(self, how="cls", heads=4):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(16, heads, batch_first=True)
        self.embed, self.how = nn.Conv2d(3, 16, 4, stride=4), how

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        if images.sum() > 1e9:
            return tokens[:, 1]
        tokens = self.attention(tokens, tokens, tokens)[0]
        return tokens[:, 0] if self.how == "cls" else tokens.mean(1)


def encoder(**options):
    layer = seeded(
        nn.TransformerEncoderLayer, 8, **({"nhead": 2, "dim_feedforward": 16, "batch_first": True} | options)
    )
    return nn.Sequential(nn.Flatten(2), nn.Linear(64, 8), layer)


def transformer(heads):
    from torchvision.models import VisionTransformer

    net = seeded(VisionTransformer, 8, 4, 2, heads, 16, 32, num_classes=5)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5, generator=torch.Generator().manual_seed(1))
    return net


PAIRS = {
    "how": (lambda: Tokens("cls"), lambda: Tokens("avg")),
    "heads": (lambda: Tokens(heads=4), lambda: Tokens(heads=8)),
    "heads of torchvision's": (lambda: transformer(4), lambda: transformer(8)),
    "nhead": (encoder, lambda: encoder(nhead=4)),
    "norm_first": (encoder, lambda: encoder(norm_first=True)),
    "activation": (encoder, lambda: encoder(activation="gelu")),
    "buffer": (lambda: _buffer(Net(), "offset", 1.0), lambda: _buffer(Net(), "offset", 5.0)),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_pairs_that_once_shared_a_recipe(pair):
    (one, again), other = (PAIRS[pair][0]() for _ in range(2)), PAIRS[pair][1]()
    assert not torch.allclose(returned(one), returned(other), atol=1e-3)
    assert of(one) == of(again) != of(other)


# Code


def defined(source, name="Made", **globals_):
    """Define a class whose source is nowhere, as in a notebook."""
    exec(source, names := {"nn": nn, "torch": torch, **globals_})
    return names[name]().eval()


BODY = "class Made(nn.Module):\n    def forward(self, images):\n        "
CODES = {
    "constants": ("return images * 2", "return images * 3"),
    "calls": ("return images.mean((2, 3))", "return images.amax((2, 3))"),
    "branches": (
        "return images if images.shape[1] == 3 else -images",
        "return -images if images.shape[1] == 3 else images",
    ),
    "methods": (
        "return self.end(images)\n    def end(self, images): return images + 1",
        "return self.end(images)\n    def end(self, images): return images + 2",
    ),
    "properties": (
        "return images * self.by\n    @property\n    def by(self): return 2",
        "return images * self.by\n    @property\n    def by(self): return 3",
    ),
    "class attributes": ("return images * self.by\n    by = 2", "return images * self.by\n    by = 3"),
    "inner functions": ("return (lambda x: x + 1)(images)", "return (lambda x: x - 1)(images)"),
    "defaults": (
        "return self.end(images)\n    def end(self, images, by=2): return images * by",
        "return self.end(images)\n    def end(self, images, by=4): return images * by",
    ),
    "static methods": (
        "return self.end(images)\n    @staticmethod\n    def end(images): return images * 2",
        "return self.end(images)\n    @staticmethod\n    def end(images): return images * 4",
    ),
}


@pytest.mark.parametrize("code", CODES)
def test_code_without_a_source_is_known_by_what_it_does(code):
    one, other = (defined(BODY + body) for body in CODES[code])
    assert not torch.equal(returned(one), returned(other))
    assert of(one) == of(defined(BODY + CODES[code][0])) != of(other)


def test_comments_and_places_are_not_part_of_it():
    body = "return images * 2"
    assert of(defined(BODY + body)) == of(defined("# a comment\n\n\n" + BODY + body + "  # another"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"SCALE": 2.0}, {"SCALE": 3.0}),
        ({"SCALE": torch.ones(1)}, {"SCALE": torch.zeros(1)}),
        ({"SCALE": Config(2.0).scale}, {"SCALE": Config(4.0).scale}),
    ],
)
def test_globals_that_code_names_are_part_of_it(one, other):
    source = BODY + "return images * SCALE"
    assert of(defined(source, **one)) == of(defined(source, **one, unused=object)) != of(defined(source, **other))


def test_functions_and_modules_that_code_names_are_part_of_it():
    def helping(body):
        exec(f"def helper(images): return {body}", names := {"torch": torch})
        return names["helper"]

    source = BODY + "return helper(images)"
    one, again, other = (helping(body) for body in ("images + 1", "images + 1", "images + 2"))
    assert of(defined(source, helper=one)) == of(defined(source, helper=again)) != of(defined(source, helper=other))

    def settings_of(scale):
        module = types.ModuleType("my_settings")
        module.SCALE, module.unused = scale, object()
        return module

    source = BODY + "return images * my_settings.SCALE"
    one, again, other = (defined(source, my_settings=settings_of(scale)) for scale in (2, 2, 3))
    assert of(one) == of(again) != of(other)


def test_a_forward_pass_of_a_parent_class_is_part_of_it():
    parent = BODY.replace("Made", "Base") + "return images * {}\n"
    one, other = (defined(parent.format(by) + "class Made(Base):\n    pass") for by in (2, 3))
    assert of(one) != of(other)


# What code reaches in other ways


class Typed(type):
    """The class of a class, which has an attribute for it."""

    by = property(lambda kind: 2)


class TypedOtherwise(type):
    by = property(lambda kind: 3)


class InOrder(nn.Module):
    """One that takes its parameters as they come."""

    def __init__(self, *names):
        super().__init__()
        for name in names:
            setattr(self, name, nn.Parameter(torch.tensor(float(ord(name)))))

    def forward(self, images):
        for parameter in self.parameters():
            images = images * parameter + parameter
        return images


class Pixels(np.ndarray):
    """An array with another product."""

    def __mul__(self, other):
        return np.asarray(self) @ np.asarray(other)


class Weighted(nn.Module):
    """One that asks a buffer for an attribute, and an array for a product."""

    def __init__(self, by=2, array=np.ndarray):
        super().__init__()
        self.register_buffer("kept", torch.ones(1))
        self.kept.by = by
        self.array = np.array([[1.0, 2.0], [3.0, 4.0]]).view(array)

    def forward(self, images):
        return images * self.kept.by * float((self.array * self.array)[0, 1])


def with_attribute(by):
    def end(images):
        return images * end.by

    end.by = by
    return end


def package(by):
    """Return a package, imported, with a number in a module of it."""
    made, inside = (types.ModuleType(name) for name in ("my_package", "my_package.inside"))
    made.inside, inside.by = inside, by
    sys.modules.update({"my_package": made, "my_package.inside": inside})
    return made


def class_of(source, **names):
    exec(source, names)
    return names["Scale"]


PLAIN = "class Scale:\n    def __init__(self): self.by = {}"
LAYER = """class Scale(nn.Module):
    def __init__(self):
        nn.Module.__init__(self)
        self.by = {}
    def forward(self, images):
        return images * self.by
"""
USES = {
    "a function's attribute": lambda by: ("end(images)", {"end": with_attribute(by)}),
    "a module's module": lambda by: ("images * found.inside.by", {"found": package(by)}),
    "a name in a text": lambda by: ("images * getattr(found, 'inside').by", {"found": package(by)}),
    "an object that it makes": lambda by: ("images * Scale().by", {"Scale": class_of(PLAIN.format(by))}),
    "a layer that it makes": lambda by: ("Scale()(images)", {"Scale": class_of(LAYER.format(by), nn=nn)}),
    "a class's class": lambda by: (
        "images * Scale.by",
        {"Scale": (Typed if by == 2 else TypedOtherwise)("Scale", (), {"__module__": "mine"})},
    ),
}


@pytest.mark.parametrize("use", USES)
def test_what_code_reaches_is_part_of_it(use):
    def made(by):
        body, names = USES[use](by)
        return defined(BODY + "return " + body, **names)

    assert of(made(2)) == of(made(2)) != of(made(3))


@pytest.mark.parametrize("line", ["from my_package.inside import by", "import my_package; by = my_package.inside.by"])
def test_what_a_forward_pass_imports_is_part_of_it(line, monkeypatch):
    def made(by):
        package(by)
        return of(defined(f"{BODY}{line}; return images * by"))

    monkeypatch.delitem(sys.modules, "my_package", raising=False)
    assert made(2) == made(2) != made(3)


def test_attributes_of_tensors_classes_of_arrays_and_the_order_of_parameters_are_part_of_it():
    for one, again, other in (
        (Weighted(), Weighted(), Weighted(by=3)),
        (Weighted(), Weighted(), Weighted(array=Pixels)),
        (InOrder("a", "b"), InOrder("a", "b"), InOrder("b", "a")),
    ):
        assert not torch.equal(returned(one), returned(other))
        assert of(one) == of(again) != of(other)


def test_installed_code_that_was_changed_is_part_of_it(monkeypatch):
    module = defined(BODY + "return torch.nn.functional.gelu(self.act(images))")
    module.act = nn.SiLU()
    before = of(module)
    with monkeypatch.context() as patch:
        patch.setattr(functional, "gelu", lambda images: images * 2)
        changed = of(module)
    with monkeypatch.context() as patch:
        patch.setattr(nn.SiLU, "forward", lambda self, images: images * 2)
        assert len({before, changed, of(module)}) == 3
    assert of(module) == before


def test_a_users_file_may_have_the_name_of_one_of_pythons(tmp_path):
    source = BODY.replace("Made", "Net") + "return images * {}"
    folders = [tmp_path / str(by) for by in (2, 3)]
    for folder in folders:
        folder.mkdir()
        (folder / "tabnanny.py").write_text("import torch\nfrom torch import nn\n" + source.format(folder.name))
    process = (
        "import sys\nfrom fc7.extract.backbones.fingerprint import fingerprint\nsys.path.insert(0, '')\n"
        f"for sys.path[0] in {[*map(str, folders)]!r}:\n"
        "    sys.modules.pop('tabnanny', None); import tabnanny; print(fingerprint(tabnanny.Net().eval()))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", process], stdout=subprocess.PIPE, text=True, check=True)
    first, second = done.stdout.split()
    assert first != second


class Scripted(nn.Module):
    """Forward passes that branch, with numbers that are parameters, attributes and constants."""

    def __init__(self, by=2.0, names=("a",), weight=1.0, other_by=1.0):
        super().__init__()
        self.other_by = other_by
        self.by, self.names = by, list(names)
        self.weight = nn.Parameter(torch.full((3,), weight))
        self.register_buffer("kept", torch.ones(1), persistent=False)

    def forward(self, images):
        rows = images.mean((2, 3)) * self.by * self.weight + self.kept
        if bool(rows.sum() > 0):
            rows = rows + len(self.names)
        return rows

    @torch.jit.export
    def other(self, images: torch.Tensor):
        return images * self.weight * self.other_by


def scripted(**options):
    with pytest.warns(FutureWarning):
        return torch.jit.script(Scripted(**options))


def test_torchscript_is_known_by_its_code_and_its_constants():
    others = [{"by": 2.000001}, {"names": ("a", "b")}, {"weight": 2.0}, {"other_by": 2.0}]
    assert len({of(scripted(**options)) for options in [{}, *others]}) == 1 + len(others)
    assert of(scripted()) == of(scripted())


# One module in two processes

PROCESS = """
import sys; sys.path.insert(0, {folder!r})
import test_fingerprint as module
for make in (module.Net, module.Tokens, module.encoder, lambda: module.transformer(4)):
    print(module.of(make()))
"""


def test_another_process_with_another_hash_seed_makes_the_same_fingerprints():
    code, seed = PROCESS.format(folder=str(Path(__file__).parent)), os.environ.get("PYTHONHASHSEED")
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "2" if seed == "1" else "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [of(Net()), of(Tokens()), of(encoder()), of(transformer(4))]


# What cannot be described


class Foreign:
    def __reduce_ex__(self, protocol):
        raise TypeError("not for pickle")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (threading.Lock(), r"^Net\.thing is a lock \(cannot pickle"),
        ([1, {"deep": Foreign()}], r"^Net\.thing\[1\]\['deep'\] is a Foreign \(not for pickle\)"),
        (weakref.ref(Foreign), r"^Net\.thing is a ReferenceType"),
        ((number for number in "ab"), r"^Net\.thing is a generator"),
        (torch.empty(2, device="meta"), r"^Net\.thing is a tensor without numbers"),
    ],
)
def test_what_has_no_lasting_description_is_refused_in_one_line(value, message):
    with pytest.raises(UsageError, match=message) as caught:
        of(Net(thing=value))
    assert "Keep it out of the module" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_that_lead_back_to_the_module_are_no_endless_loop():
    def made(number):
        module = Net()
        module.parts = [module.conv, {"all": module.parts} if hasattr(module, "parts") else number]
        module.parts.append(module.parts)
        object.__setattr__(module, "myself", module)
        return module

    assert of(made(1)) == of(made(1)) != of(made(2))


def test_a_module_that_is_nested_too_deeply_is_said():
    deep = nested = []
    for _ in range(sys.getrecursionlimit()):
        nested.append([])
        nested = nested[0]
    with pytest.raises(UsageError, match="nested too deeply"):
        of(Net(deep=deep))


def test_compiled_modules_are_known_by_what_was_compiled():
    assert of(torch.compile(Net())) == of(Net())
    inside = nn.Sequential(torch.compile(Net()), nn.Flatten())
    assert of(inside) == of(nn.Sequential(Net(), nn.Flatten()))
