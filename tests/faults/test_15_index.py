"""Fault test 15: bits that flip in the index. The answers are those without an index, and no later run reads more."""

import hashlib
import os
import random
import time

import pytest
from faulty import RECIPE, heard, key, unit, wrong

from fc7.cache import Store, files
from fc7.cache import index as module
from fc7.cache.index import Index

FILES, SHARDS, ROUNDS = 40, 5, 3
NUMBERS = range(8 * SHARDS)


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """These tests are about what is read; thousands of commits need not reach the disk."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


@pytest.fixture
def reads(monkeypatch):
    """Files and shards that were read."""
    found = []
    hash_file, admit = module.hash_file, Store._admit
    monkeypatch.setattr(module, "hash_file", lambda path: (found.append(path), hash_file(path))[1])
    monkeypatch.setattr(Store, "_admit", lambda self, path: (found.append(path), admit(self, path))[1])
    return found


def test_flipped_bits_of_any_table_lead_to_no_wrong_answer_and_heal(tmp_path, reads, size, figure):
    store = Store(RECIPE, tmp_path / "cache")
    for start in range(0, len(NUMBERS), 8):
        store.append(unit(NUMBERS[start : start + 8]))
    paths, hashes = [], []
    then = time.time() - 60
    for number in range(FILES):
        paths.append(tmp_path / f"{number:04}.png")
        paths[-1].write_bytes(b"%d" % number)
        os.utime(paths[-1], (then, then))
        hashes.append(hashlib.sha256(b"%d" % number).digest())
    store.index.sha256(paths)
    content = store.index.path.read_bytes()
    chance = random.Random(15)
    found = dict.fromkeys(("wrong", "again", "never"), 0)
    count = size(40, 5000)
    for _ in range(count):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 1, 2, 8, 100])):
            bit = chance.randrange(8 * len(content))
            damaged[bit // 8] ^= 1 << bit % 8
        store.index.path.write_bytes(damaged)
        for _ in range(ROUNDS):
            reads.clear()
            with heard():
                again = Store(RECIPE, tmp_path / "cache")
                found["wrong"] += Index(tmp_path / "cache").sha256(paths) != hashes
            found["wrong"] += wrong(again, NUMBERS) + len(again.missing(map(key, NUMBERS)))
            found["again"] += bool(reads)
        found["never"] += bool(reads)
    figure(
        "Flipped bits of the index",
        f"{count} indexes of images, weights and shards with 1 to 100 bits flipped, each followed by {ROUNDS} runs",
        f"{found['wrong']} wrong answers, {found['never']} indexes not healed by then",
    )
    assert found["again"]  # the twin: what is damaged is read again
    assert (found["wrong"], found["never"]) == (0, 0)
