"""Fault test 10: what changes is computed and nothing else: images, and each field of the recipe."""

import os
import random
import shutil
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from fakes import FakeBackbone, draw
from faulty import colour, gallery

from fc7.cache.recipe import Recipe, Transform
from fc7.extract import extract, fill, load_backbone, read_manifest


class Counting(FakeBackbone):
    """Counts the images that it was given; no picture here is black, and padding is."""

    def __init__(self, recipe=None, **options):
        super().__init__(**options)
        if recipe:
            self.recipes = (recipe,)
        self.images = 0

    def embed(self, batch):
        with self.counting:
            self.images += int(batch.any(axis=(1, 2, 3)).sum())
        return super().embed(batch)

    def forward(self, batch):
        vectors = super().forward(batch)[0]
        return [vectors if self.recipes[0].dim == 12 else np.tile(vectors, 2)[:, : self.recipes[0].dim]]


def computed(pictures, cache, **options):
    """Extract and return how many images the backbone was given, checked against what the accounting says."""
    backbone = Counting(**options)
    done = fill(read_manifest(pictures), [backbone], cache=cache)
    assert backbone.images == sum(view.computed for view in done)
    assert all(view.ok == view.computed + view.reused for view in done)
    return backbone.images


class Pictures:
    """A folder of pictures that is changed at random, and the number of the colour of each."""

    def __init__(self, root):
        self.root, self.chance, self.colours = root, random.Random(10), 20
        gallery(root, 20, start=1)
        self.holds = {path: int(path.stem) for path in root.rglob("*.png")}

    def change(self, kind, step):
        for path in self.chance.sample(sorted(self.holds), self.chance.randrange(1, 4)):
            getattr(self, kind)(path, path.with_name(f"{kind} {step} {path.name[-80:]}"))

    def draw(self, path):
        self.colours += 1
        self.holds[draw(path, colour(self.colours))] = self.colours

    def grow(self, _, target):
        self.draw(target)

    def edit(self, path, _):
        self.draw(path)

    def rename(self, path, target):
        self.holds[path.rename(target)] = self.holds.pop(path)

    def move(self, path, target):
        self.rename(path, self.root / "blue" / target.name)

    def copy(self, path, target):
        self.holds[Path(shutil.copy(path, target))] = self.holds[path]

    def delete(self, path, _):
        if len(self.holds) > 8:
            path.unlink()
            del self.holds[path]

    def touch(self, path, _):
        os.utime(path)

    def turn_back(self, path, _):
        self.holds[draw(path, colour(1))] = 1


def test_a_dataset_that_changes(tmp_path, size, figure):
    """The expected numbers follow from the contents, whatever the names."""
    pictures, cache = Pictures(tmp_path / "pictures"), tmp_path / "cache"
    assert computed(pictures.root, cache) == 20
    known = set(pictures.holds.values())
    done, images = Counter(), 0
    for step in range(size(28, 400)):
        kind = pictures.chance.choice(["grow", "rename", "move", "copy", "delete", "touch", "edit", "turn_back"])
        pictures.change(kind, step)
        new = set(pictures.holds.values()) - known
        assert computed(pictures.root, cache) == len(new), (kind, step)
        assert bool(new) == (kind in ("grow", "edit"))
        known |= new
        done[kind.replace("_", " ")] += 1
        images += len(new)
    table = extract(read_manifest(pictures.root), FakeBackbone(), cache=cache)
    expected = [colour(pictures.holds[pictures.root / path]) for path in table.paths]
    np.testing.assert_array_equal(table.vectors, np.tile(np.float32(expected) / 255, 4).astype(np.float16))
    figure(
        "A dataset that changes",
        ", ".join(f"{count} x {kind}" for kind, count in sorted(done.items())),
        f"{images} images computed, exactly the new ones; renaming, moving, copying, deleting, touching: 0",
    )


def test_each_field_of_the_recipe_is_a_full_miss_and_nothing_else_is(tmp_path, figure):
    pictures, cache = gallery(tmp_path / "pictures", 6, start=1), tmp_path / "cache"
    base = Counting().recipes[0]
    assert computed(pictures, cache) == 6
    changes = {
        "backbone": "other",
        "layer": "other",
        "dim": 16,
        "weights": "0" * 64,
        "decode": "exact-0",
        "mirror": True,
        "precision": "bf16",
        "dtype": "float32",
    }
    transforms = {
        "resize": 9,
        "crop": 6,
        "mean": (0.5, 0.4, 0.3),
        "std": (0.2, 0.2, 0.3),
        "interpolation": "bicubic",
        "padding": "torchvision",
        "resize_mode": "pad",
    }
    apart = {"transform", "view"}
    assert set(changes) | apart == {field.name for field in fields(Recipe)}, "a new field needs a change here"
    assert set(transforms) == {field.name for field in fields(Transform)}
    others = [replace(base, **{name: value}) for name, value in changes.items()]
    others += [replace(base, transform=replace(base.transform, **{name: value})) for name, value in transforms.items()]
    for recipe in others:
        assert computed(pictures, cache, recipe=recipe) == 6, recipe
        assert computed(pictures, cache, recipe=recipe) == 0
    for views in (1, 2):
        assert computed(pictures, cache, views=views) == 6, "the view that is new"
        assert computed(pictures, cache, views=views) == 0
    assert computed(pictures, cache) == 0
    for size in (1, 3, 64):
        assert computed(pictures, cache, batch_size=size) == 0
    same = {
        load_backbone("squeezenet1_1", weights="random:0", device="cpu", batch_size=size).recipes for size in (1, 32)
    }
    assert len(same) == 1
    figure(
        "Another recipe",
        f"{len(others) + 2} fields changed or views added, one by one; batch size changed",
        f"{len(others) + 2} times all images computed and none reused; for another batch size 0",
    )
