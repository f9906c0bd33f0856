"""Layers and transforms of seeded networks against the code of their libraries: equal, or refused by name.

Usage: python tests/zoo.py FIGURES.json docs/zoo.md [PATTERN]

All networks of torchvision that classify, and those of timm below. What was measured is written to the first file after
each network, and stays if this version of the script has measured it: the same command goes on where it was stopped. Of
it the table of the second is made. Exit code 1 if a network differs, or its packed layers do, or the table lacks a row.
"""

import contextlib
import fnmatch
import gc
import hashlib
import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn.functional import normalize, relu

from fc7.cache.recipe import DECODES, Input
from fc7.errors import FC7Error
from fc7.extract import load_backbone
from fc7.extract.backbones.architectures import architecture
from fc7.extract.decoding.views import view
from fc7.extract.engines.malloc import trim
from fc7.extract.engines.precision import in_stored_type

BEGIN, END = "<!-- networks: written by `make zoo` -->\n", "<!-- end of networks -->\n"
VERSION = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]  # of this script
FLOAT32, STORED = 1e-4, 1e-3  # of a vector's length: how far it may be from the library's
BRANCH = 0.2  # of the trunk: what residual branches of made networks add; as much as it, and they enlarge all rounding
LARGE, WIDE = 30e6, 500  # parameters and pixels: of larger networks, and with larger images, two images are enough
POOLED = ("gap", "gmp", "gap+gmp")
TOKENS = ("cls", "avg", "cls+avg")
HEAD = ("backbone", "M parameters", "dimension", "equal", "refused", "float32", "as stored", "float16 loses")

# torchvision: beginnings of names, the last linear layer, and the module whose output is the last feature map.
TORCHVISION = {
    "alexnet": ("classifier.6", "features"),
    "convnext": ("classifier.2", "features"),
    "densenet": ("classifier", "features"),
    "efficientnet": ("classifier.1", "features"),
    "googlenet": ("fc", "inception5b"),
    "inception": ("fc", "Mixed_7c"),
    "maxvit": ("classifier.5", "blocks.3"),
    "mnasnet": ("classifier.1", "layers"),
    "mobilenet_v2": ("classifier.1", "features"),
    "mobilenet_v3": ("classifier.3", "features"),
    "regnet": ("fc", "trunk_output"),
    "resnet": ("fc", "layer4"),
    "resnext": ("fc", "layer4"),
    "shufflenet": ("fc", "conv5"),
    "squeezenet": ("", "features"),
    "swin": ("head", "permute"),
    "vgg": ("classifier.6", "features"),
    "vit": ("heads.head", ""),
    "wide_resnet": ("fc", "layer4"),
}
PAPERS = {  # the layers that papers name, of networks that have a row in fc7: the modules whose output they are
    "alexnet": {"pool5": "avgpool", "fc6": "classifier.2", "fc7": "classifier.5"},
    "vgg16": {"pool5": "avgpool", "fc6": "classifier.1", "fc7": "classifier.4"},
}

TIMM = """
beit_base_patch16_224 caformer_s18 cait_xxs24_224 coatnet_nano_rw_224 convnext_atto convnextv2_atto crossvit_tiny_240
davit_tiny deit_tiny_distilled_patch16_224 deit3_small_patch16_224 densenet121 dla46_c dpn48b edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 efficientnet_b0 efficientvim_m1 efficientvit_b0 eva02_tiny_patch14_224
fastvit_t8 gmlp_ti16_224 hiera_tiny_224 levit_128s mambaout_femto maxvit_nano_rw_256 mixer_s32_224
mobilenetv3_small_050 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs nf_regnet_b0 pit_ti_distilled_224 pvt_v2_b0
regnetx_002 repvit_m1 resnest14d resnet18 resnetv2_18 sam2_hiera_tiny swiftformer_xs swin_tiny_patch4_window7_224
swinv2_tiny_window8_256 test_resnet test_vit test_vit2 test_vit3 tf_efficientnet_lite0 tiny_vit_5m_224
vit_base_patch16_clip_224 vit_base_patch16_siglip_224 vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2
vit_tiny_patch16_224 vit_tiny_patch16_dinov3_qkvb volo_d1_224 xception41 xcit_nano_12_p16_224
"""
CHANNELS_LAST = ("mambaout_femto", "sam2_hiera_tiny", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256")


def names():
    """Return the names of all networks."""
    return [*torchvision.models.list_models(torchvision.models), *(f"timm:{name}" for name in TIMM.split())]


def photographs(count):
    """Return parts of two photographs that scikit-learn has, upright and lying."""
    images = [Image.fromarray(image) for image in load_sample_images().images]
    boxes = [(0, 0, 640, 427), (200, 20, 500, 420), (20, 100, 330, 400), (300, 0, 640, 300)]
    return [images[number % 2].crop(boxes[number // 2 % 4]) for number in range(count)]


def made(name):
    """Return a seeded network of its library, in evaluation mode."""
    torch.manual_seed(0)
    if name.startswith("timm:"):
        return timm.create_model(name.removeprefix("timm:"), pretrained=False).eval()
    options = {"image_size": 518} if name == "vit_h_14" else {}
    if name in ("googlenet", "inception_v3"):
        options = {"transform_input": True, "init_weights": False, "aux_logits": False}
    return torchvision.models.get_model(name, weights=None, **options).eval()


def prepared(name, transform, images):
    """Return pixels of fc7, uint8, and what its library makes of the same images, uint8, and its mean and deviation."""
    own = np.stack([view(image, Input(transform, DECODES["exact"], 0), bytes(32)) for image in images])
    if name.startswith("timm:"):
        config = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(name[5:]).to_dict())
        options = config | {"use_prefetcher": True}
        theirs = np.stack([np.asarray(timm.data.create_transform(**options)(image)) for image in images])
        return own, theirs.transpose(0, 2, 3, 1), (config["mean"], config["std"])
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    mean, std, preset.mean, preset.std = preset.mean, preset.std, [0.0] * 3, [1.0] * 3
    theirs = np.stack([(preset(image) * 255).round().byte().permute(1, 2, 0).numpy() for image in images])
    return own, theirs, (mean, std)


def lively(net, images):
    """Let no parameter be constant, residual branches be small, and batch norms have the statistics of photographs."""
    for parameter in map(torch.Tensor.detach, net.parameters()):
        if parameter.numel() > 1 and float(parameter.max() - parameter.min()) < 1e-3:
            around = float(parameter.mean()) if float(parameter.mean()) > 0.5 else 0.0
            parameter.uniform_(around - 0.2, around + 0.2)
    norms = [module for module in net.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in branch_ends(net, norms, images[:1]):
        if norm.weight is not None:
            norm.weight.detach().mul_(BRANCH)
    for norm in norms:
        norm.train()
        norm.momentum = None  # statistics of what is seen now
    with torch.no_grad():
        net(images)
    return net.eval()


def branch_ends(net, norms, image):
    """Return the norms that come last in a module which keeps the shape of its input, as residual branches do."""
    norms, called, last = set(norms), [], []

    def note(module, given, returned):
        if module in norms:
            called.append(module)
        elif called and called[-1] in set(module.modules()):
            before, after = (getattr(value, "shape", None) for value in (next(iter(given), None), returned))
            last.extend([called[-1]] if before and before == after else [])

    hooks = [module.register_forward_hook(note) for module in net.modules()]
    with torch.no_grad():
        net(image)
    for hook in hooks:
        hook.remove()
    return set(last)


def pools(maps, over):
    """Return the pooled layers of a map."""
    mean, largest = maps.mean(over), maps.amax(over)
    return dict(zip(POOLED, (mean, largest, torch.cat([normalize(mean), normalize(largest)], 1)), strict=True))


def token_layers(patches, first, name=""):
    """Return the layers of tokens: of patches and, if there is one, of the class token."""
    found = {f"{name}avg": patches.mean(1)}
    if first is not None:
        found |= {f"{name}cls": first, f"{name}cls+avg": torch.cat([first, patches.mean(1)], 1)}
    return found


def of_torchvision(name, net, images):
    """Return the layers as torchvision's own forward pass computes them, by hooks."""
    linear, module = next(TORCHVISION[start] for start in sorted(TORCHVISION, reverse=True) if name.startswith(start))
    found, hooks = {}, []

    def tap(module, keep):
        hooks.append(net.get_submodule(module).register_forward_hook(lambda _, given, returned: keep(given, returned)))

    if linear:
        tap(linear, lambda given, returned: found.update(penultimate=given[0].clone()))
    if module:
        after = relu if name.startswith("densenet") else torch.clone
        tap(module, lambda given, returned: found.update(pools(after(returned), (2, 3))))
    for layer, path in PAPERS.get(name, {}).items():
        tap(path, lambda given, returned, layer=layer: found.update({layer: relu(returned.flatten(1))}))
    if name.startswith("swin"):
        tap("norm", lambda given, returned: found.update(avg=returned.mean((1, 2))))
    if name.startswith("vit"):
        tap("encoder.ln", lambda given, returned: found.update(token_layers(returned[:, 1:], returned[:, 0])))
        block = len(net.encoder.layers) - 2

        def keep(given, returned):
            tokens = net.encoder.ln.forward(returned)  # without its hook
            found.update(token_layers(tokens[:, 1:], tokens[:, 0], "block:-2:"))

        tap(f"encoder.layers.{f'encoder_layer_{block}'}", keep)
    found["logits"] = net(images)
    for hook in hooks:
        hook.remove()
    return found


def of_timm(name, net, images):
    """Return the layers as timm's documentation defines them, by its functions."""
    features, has_class = net.forward_features(images), getattr(net, "cls_token", None) is not None
    found = {"penultimate": net.forward_head(features, pre_logits=True), "logits": net(images)}
    axes = features.dim() if isinstance(features, torch.Tensor) else 0
    if axes == 4:
        last = name.removeprefix("timm:") in CHANNELS_LAST
        found |= pools(features, (1, 2) if last else (2, 3)) | ({"avg": features.mean((1, 2))} if last else {})
    elif axes == 3:
        before = getattr(net, "num_prefix_tokens", 0)
        found |= token_layers(features[:, before:], features[:, 0] if has_class else None)
        if getattr(net, "attn_pool", None) is not None:
            found["map"] = net.attn_pool(features if net.pool_include_prefix else features[:, before:])
    with contextlib.suppress(Exception):  # a network may lack the function, or give no tokens
        options = {"indices": 2, "norm": True, "output_fmt": "NLC", "intermediates_only": True}
        try:
            block = net.forward_intermediates(images, **options, return_prefix_tokens=True)[0]
        except TypeError:
            block = net.forward_intermediates(images, **options)[0]
        patches, first = block if isinstance(block, tuple) else (block, None)
        found |= token_layers(patches, first[:, 0] if first is not None and has_class else None, "block:-2:")
    return found


def served(name):
    """Return the layers that fc7 has of a network, and why it refuses others: by name, each a line."""
    net, layers, refused = architecture(name), [], {}
    for layer in ("penultimate", "pool5", "fc6", "fc7", "logits", *POOLED, *TOKENS, "map"):
        try:
            net.layer(layer)
        except FC7Error as error:
            refused[layer] = str(error)
        else:
            layers.append(layer)
    for layer in TOKENS:
        with contextlib.suppress(FC7Error):
            net.layer(f"block:-2:{layer}")
            layers.append(f"block:-2:{layer}")
    return layers, refused


def check(name):
    """Compare all layers of a network, and its transform; return the figures.

    Raises
    ------
    AssertionError
        It is neither equal nor refused; the message says what.
    """
    layers, refused = served(name)
    assert all("\n" not in line and line.startswith(f"{name} has no layer") for line in refused.values()), refused
    net, transform = made(name), architecture(name).transform
    parameters = sum(value.numel() for value in net.parameters())
    images = photographs(4 if parameters < LARGE and transform.crop < WIDE else 2)
    pixels, theirs, (mean, std) = prepared(name, transform, images)
    assert np.array_equal(pixels, theirs), "the transform gives other pixels"
    assert (transform.mean, transform.std) == (tuple(mean), tuple(std)), "the transform normalises otherwise"
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "lively.pth"
        expected = _saved(name, net, (torch.from_numpy(pixels) / 255 - torch.tensor(mean)) / torch.tensor(std), weights)
        del net  # large ones need its memory
        assert not set(layers) - expected.keys(), f"{sorted(set(layers) - expected.keys())}: not of the library"
        options = {"weights": f"file:{weights}", "transform": transform, "cache": f"{folder}/cache", "device": "cpu"}
        backbone = load_backbone(name, layers, **options, batch_size=len(pixels))
        found = dict(zip(layers, backbone.forward(pixels), strict=True))
    assert [recipe.dim for recipe in backbone.recipes] == [rows.shape[1] for rows in found.values()], "dimensions"
    figures = {"backbone": name, "script": VERSION, "parameters": parameters, "dimension": backbone.recipes[0].dim}
    figures |= {"equal": layers, "refused": sorted(expected.keys() - set(layers))}
    return figures | compared(found, expected)


def _saved(name, net, images, weights):
    """Return the layers of the network, made lively, and write its parameters to a file."""
    images = images.permute(0, 3, 1, 2)
    net = lively(net, images)
    with torch.inference_mode():
        layers = (of_timm if name.startswith("timm:") else of_torchvision)(name, net, images)
    torch.save(net.state_dict(), weights)
    return {layer: value.numpy().copy() for layer, value in layers.items()}


def compared(found, expected):
    """Compare layers; return how far the worst rows are from the library's, and what float16 loses of them."""
    worst = {"float32": 0.0, "stored": 0.0, "loses": 0.0}
    for layer, rows in found.items():
        theirs = expected[layer]
        length = np.linalg.norm(theirs, axis=1)
        assert np.isfinite(theirs).all() and theirs.shape == rows.shape, f"{layer}: {theirs.shape}, {rows.shape}"
        apart = np.linalg.norm(theirs - np.roll(theirs, 1, axis=0), axis=1)
        assert (apart > 1e-3 * length).all(), f"{layer} is constant"
        stored, loses = in_stored_type(rows, "float16")
        off = np.linalg.norm(rows - theirs, axis=1) / length
        assert (off <= FLOAT32).all(), f"{layer} differs by {off.max():.2g} of its length"
        worst["float32"] = max(worst["float32"], float(off.max()))
        worst["loses"] = max(worst["loses"], float(loses.max()))
        if (loses <= STORED).all():  # others are refused when they are stored
            off = np.linalg.norm(stored.astype(np.float32) - theirs, axis=1) / length
            assert (off <= STORED).all(), f"{layer} differs by {off.max():.2g} of its length as stored"
            worst["stored"] = max(worst["stored"], float(off.max()))
    return worst


def table(figures):
    """Return the figures as a Markdown table."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in figures:
        columns = [f"`{row['backbone']}`", f"{row['parameters'] / 1e6:.1f}", str(row["dimension"])]
        columns += [", ".join(row["equal"]), ", ".join(row["refused"])]
        columns += [f"{row[worst]:.0e}" for worst in ("float32", "stored", "loses")]
        lines.append(tuple(columns))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def document(text, figures):
    """Return the document with these figures in place of those that it had."""
    before, _, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"The document lacks the lines {BEGIN!r} and {END!r}.")
    absent = [f"`{name}`" for name in names() if name not in {row["backbone"] for row in figures}]
    why = "Not in the table, for the run was stopped before, or they differ"
    rest = f"{why}: {', '.join(absent)}.\n\n" if absent else ""
    return f"{before}{BEGIN}\n{table(figures)}\n{rest}{END}{after}"


class Refusing(logging.Handler):
    """Makes an error of what fc7 warns of: that plain layers run, for the packed ones differ."""

    def emit(self, record):
        raise AssertionError(record.getMessage())


@contextlib.contextmanager
def refusing():
    """Let nothing be warned of."""
    handler, logger = Refusing(logging.WARNING), logging.getLogger("fc7")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def main(figures, path, pattern="*"):
    """Check all networks, write the figures, and the table; return the exit code."""
    figures, path = Path(figures), Path(path)
    known = json.loads(figures.read_text()) if figures.exists() else {}
    known = {name: row for name, row in known.items() if row.get("script") == VERSION}
    wanted = [name for name in names() if fnmatch.fnmatch(name, pattern)]
    for name in wanted:
        started = time.monotonic()
        try:
            with warnings.catch_warnings(action="ignore"), refusing():
                known[name] = known.get(name) or check(name)
        except Exception as error:  # a line for each network, whatever happens
            said = f"{type(error).__name__}: {error}"
        else:
            said = f"equal, {time.monotonic() - started:.0f} s"
        sys.stdout.write(f"{name}: {said}\n")
        sys.stdout.flush()
        gc.collect()  # graphs hold themselves, and what they hold is large
        trim()
        figures.write_text(json.dumps(known, indent=1))
        if pattern == "*":
            rows = [known[name] for name in names() if name in known]
            path.write_text(document(path.read_text("utf-8"), rows), "utf-8")
    return int(not wanted or not set(wanted) <= known.keys())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
