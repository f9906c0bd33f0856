"""Claim: `fc7 screen` takes at most 0.6 of the time of extracting every candidate on all images and comparing them.

    python benchmarks/screen.py DATA [--vgg16 FILE.safetensors] [--repeat N]

Five candidates: squeezenet1_1 (ndf), efficientnet-lite0, vgg16 (gap, from FILE), and resnet50 and resnet18 with random
weights. Each side is a process with a cache of its own, one after the other, N times (default 1). A second screening in
the same cache must answer the same.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def timed(cache: Path, *words: str) -> tuple[float, dict[str, object]]:
    """Return the seconds of a command, and its answer."""
    environment = os.environ | {"FC7_CACHE": str(cache), "PYTHONSAFEPATH": "1"}
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "fc7", *words, "--json", "--quiet"],
        env=environment, stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return time.perf_counter() - begun, json.loads(done.stdout)


def main() -> None:
    """Measure both sides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--vgg16", metavar="FILE", help="weights of its convolutions; without them vgg16 is left out")
    parser.add_argument("--repeat", type=int, default=1)
    given = parser.parse_args()
    weights = {
        "squeezenet1_1": "ndf",
        "timm:tf_efficientnet_lite0": "efficientnet-lite",
        **({"vgg16": f"file:{Path(given.vgg16).resolve()}"} if given.vgg16 else {}),
        "resnet50": "random:0",
        "resnet18": "random:1",
    }
    words = [word for name, source in weights.items() for word in ("--backbone", name, "--weights", f"{name}={source}")]
    words += ["--layer", "vgg16=gap", "--transform", "vgg16=IMAGENET1K_V1"] if given.vgg16 else []
    ratios = []
    for _ in range(given.repeat):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            screen = ("screen", given.data, *words, "-o", str(home / "screening"))
            ours, answer = timed(home / "screened", *screen)
            again, repeated = timed(home / "screened", *screen)
            theirs, _ = timed(home / "compared", "compare", given.data, *words, "-o", str(home / "runs"))
        print("\n".join(answer["answer"]))
        for row in answer["candidates"]:
            rate, memory = row["images_per_second"] or 0.0, (row["memory"] or 0) / 1e6
            print(f"  {row['name']}: {row['accuracy']:.3f} of {row['images']}, {rate:.1f} images/s, {memory:.0f} MB")
        ratios.append(ours / theirs)
        print(
            f"screen {ours:.1f} s, again {again:.1f} s; all of all {theirs:.1f} s: ratio {ratios[-1]:.2f}", flush=True
        )
        if repeated["answer"] != answer["answer"]:
            raise SystemExit("the second screening answers otherwise")
    print(f"ratio {sorted(ratios)[len(ratios) // 2]:.2f}, asked at most 0.60")


if __name__ == "__main__":
    main()
