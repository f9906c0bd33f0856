"""Fault test 6: bits that flip, ends that are missing, files in the wrong place. None is served, all are recomputed."""

import random
from collections import Counter

import pytest
from faulty import RECIPE, heard, key, unit, wrong

from fc7.cache import Store, files
from fc7.cache.index import stat_line
from fc7.cache.shard import check, decode, encode
from fc7.cache.verify import repair, verify
from fc7.errors import CorruptShard

NUMBERS = range(40)
FRONT = 4096  # bytes of which every bit is flipped
ROWS = unit(NUMBERS, rejected=(900, 901))


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """These tests are about what is read; ten thousand commits need not reach the disk."""
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def data():
    whole = encode(ROWS, RECIPE)
    assert len(whole) > FRONT
    return whole


def bits(data):
    """Return every bit of the front and 1,000 of the rest."""
    rest = random.Random(6).sample(range(8 * FRONT, 8 * len(data)), 1000)
    return [*range(8 * FRONT), *rest]


def flipped(data, bit):
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def test_every_flipped_bit_is_refused(data, size, figure):
    where = bits(data)[:: size(11, 1)]
    refused = Counter()
    for bit in where:
        with pytest.raises(CorruptShard):
            check(flipped(data, bit))
        refused["all"] += 1
    decode(data)  # the twin: unharmed it is read
    figure(
        "Flipped bits of a shard",
        f"every bit of its first {FRONT} bytes and 1000 of the others, {len(where)} in all",
        f"{refused['all']} detected before HDF5 saw a byte, 0 silent",
    )


@pytest.mark.timeout(1800)
def test_flipped_bits_on_disk_are_quarantined_and_computed_again(tmp_path, data, size, figure):
    store = Store(RECIPE, tmp_path)
    path = store.append(ROWS)
    where = random.Random(7).sample(bits(data), size(50, 5000))
    quarantined = recomputed = silent = 0
    for bit in where:
        path.write_bytes(flipped(data, bit))
        with heard() as warnings:
            damaged = Store(RECIPE, tmp_path)
        silent += any(key(number) in damaged for number in NUMBERS) or len(warnings) != 1
        aside = damaged.folder / "quarantine" / path.name
        quarantined += aside.exists() and not path.exists()
        aside.unlink()
        damaged.append(ROWS)
        again = Store(RECIPE, tmp_path)
        recomputed += not again.missing(map(key, NUMBERS)) and not wrong(again, NUMBERS)
    figure(
        "Flipped bits of a shard on disk",
        f"{len(where)} flips, each followed by a run",
        f"{quarantined} set aside, {recomputed} computed again with the same bits, {silent} silent",
    )
    assert (quarantined, recomputed, silent) == (len(where), len(where), 0)


def test_bits_that_rot_under_a_reader(tmp_path, data):
    """A store that listed the shard before: the file is another one, so it is looked at again."""
    store = Store(RECIPE, tmp_path)
    path = store.append(ROWS)
    path.write_bytes(flipped(data, 8 * store.entries[path.name].offset))
    assert not store.missing(map(key, NUMBERS))
    with heard() as warnings, pytest.raises(Exception, match="40 of 40 images have no"):
        store.rows([key(number) for number in NUMBERS])
    assert "set aside" in warnings[0].lower()


def test_rot_under_unchanged_size_and_times_is_found_by_verify_deep(tmp_path, data, size, figure):
    """What no file system call tells: the bits change, and size, times and inode do not."""
    store = Store(RECIPE, tmp_path)
    path = store.append(ROWS)
    entry = store.entries[path.name]
    where = random.Random(8).sample(bits(data), size(8, 200))
    found = 0
    for bit in where:
        path.write_bytes(flipped(data, bit))
        store.index.remember_shards(RECIPE.id, {path.name: entry._replace(stat=stat_line(path.stat()))})
        found += len(verify(tmp_path, deep=True).damaged)
    assert found == len(where)
    with heard():
        assert len(repair(tmp_path)) == 1
    assert len(Store(RECIPE, tmp_path).missing(map(key, NUMBERS))) == len(NUMBERS)
    figure(
        "Rot that changes no time stamp",
        f"{len(where)} flips",
        f"{found} found by `verify --deep`, set aside by `repair`",
    )


def test_truncated_and_lengthened_shards_are_refused(tmp_path, data, size, figure):
    store = Store(RECIPE, tmp_path)
    path = store.append(ROWS)
    lengths = sorted({0, 1, 511, 512, 513, len(data) - 1, *range(2, len(data), size(389, 7))})
    contents = [data[:length] for length in lengths] + [data + b"\0", data + data]
    refused = 0
    for content in contents:
        path.write_bytes(content)
        with heard() as warnings:
            damaged = Store(RECIPE, tmp_path)
        refused += len(damaged) == 0 and len(warnings) == 1
        path.unlink(missing_ok=True)
    figure("Shards of another length", f"{len(contents)} lengths", f"{refused} refused")
    assert refused == len(contents)


def test_sound_shards_in_the_wrong_place_are_refused(tmp_path):
    """Swapped names, a copy under a third name, and a shard of another recipe."""
    from dataclasses import replace

    store = Store(RECIPE, tmp_path)
    first, second = (store.append(unit(numbers)) for numbers in (NUMBERS[:8], NUMBERS[8:16]))
    third = store.append(unit(NUMBERS[16:24]))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    other = replace(RECIPE, backbone="other")
    third.write_bytes(encode(unit(NUMBERS[16:24]), other))
    copy = store.path("ab" * 32 + ".h5")
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(one)
    with heard() as warnings:
        again = Store(RECIPE, tmp_path)
    assert len(warnings) == 4
    assert len(again) == 0
    assert not list(first.parent.iterdir())
