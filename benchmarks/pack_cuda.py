"""Pack what ``benchmarks/cuda.py`` needs on a machine without a network: photographs, and wheels that it may lack.

    python benchmarks/pack_cuda.py DATA FOLDER [--python 3.12] [--wheels NAME ...]   # FOLDER: such as build/cuda

DATA is a folder of photographs in JPEG; 100 are taken, four of five encoded again as most cameras do (4:2:0). On the
other machine:

    python -m pip install --no-index --no-deps --target /tmp/site FOLDER/*.whl && ln -s "$PWD" /tmp/site/fc7
    PYTHONPATH=/tmp/site python benchmarks/cuda.py FOLDER
"""

import argparse
import subprocess
import sys
from pathlib import Path

from PIL import Image

PHOTOGRAPHS = 100
WHEELS = (
    "attrs",
    "jsonschema",
    "jsonschema-specifications",
    "markdown-it-py",
    "mdurl",
    "nvidia-nvimgcodec-cu13",
    "nvidia-nvjpeg",
    "packaging",
    "platformdirs",
    "prettytable",
    "pygments",
    "referencing",
    "rich",
    "rpds-py",
    "skops",
    "wcwidth",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
MOST = 60 * 2**20  # bytes of all


def photographs(data, folder):
    """Copy photographs, or encode them again."""
    folder.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in data.rglob("*.jp*g"))[:PHOTOGRAPHS]
    for number, path in enumerate(files):
        target = folder / f"{number:03}.jpg"
        if number % 5:
            with Image.open(path) as image:
                image.convert("RGB").save(target, "JPEG", quality=92, subsampling=2)
        else:
            target.write_bytes(path.read_bytes())
    return len(files)


def main():
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("--wheels", nargs="*", default=WHEELS)
    arguments = parser.parse_args()
    count = photographs(arguments.data, arguments.folder / "photographs")
    if arguments.wheels:
        platforms = [word for name in PLATFORMS for word in ("--platform", name)]
        words = ["--no-deps", "--only-binary=:all:", "--python-version", arguments.python, *platforms]
        command = [sys.executable, "-m", "pip", "download", "--quiet", *words, "--dest", str(arguments.folder)]
        subprocess.run([*command, *arguments.wheels], check=True)
    size = sum(path.stat().st_size for path in arguments.folder.rglob("*") if path.is_file())
    print(f"{count} photographs, {len(list(arguments.folder.glob('*.whl')))} wheels, {size / 2**20:.0f} MiB")
    if size > MOST:
        raise SystemExit(f"That is more than {MOST / 2**20:.0f} MiB.")


if __name__ == "__main__":
    main()
