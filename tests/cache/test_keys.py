"""Packed keys against Python's own sets and dicts, with keys that begin alike, which sha256 never makes."""

import itertools
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fc7.cache import keys as module
from fc7.cache.keys import Keys, Places, Table

# Few values for the first eight bytes, the middle and the end, zeros among them: ties of every kind.
PART = st.sampled_from([b"\0" * 8, b"\0" * 7 + b"\1", b"\1" + b"\0" * 7, b"\xff" * 8])
KEY = st.builds(lambda one, two, three: one + two + b"\0" * 8 + three, PART, PART, PART)
KEYS = st.lists(KEY, max_size=40)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """So that a few keys are more than one block."""
    monkeypatch.setattr(module, "BLOCK", 7)


def first_places(keys):
    return {key: place for place, key in reversed([*enumerate(keys)])}


@given(KEYS)
def test_a_sequence_of_bytes(keys):
    packed = Keys.of(keys)
    assert packed == keys
    assert [*packed] == keys
    assert [packed[place] for place in range(len(keys))] == keys
    assert packed[2:30:3] == keys[2:30:3]
    assert packed.tobytes() == b"".join(keys)
    assert Keys.of(packed) is packed
    assert pickle.loads(pickle.dumps(packed)) == keys
    assert packed != [*keys, b"x" * 32]
    assert repr(packed) == f"Keys({len(keys)})"


@given(KEYS)
def test_order_and_each_once(keys):
    packed = Keys.of(keys)
    assert packed.order().tolist() == sorted(range(len(keys)), key=lambda place: (keys[place], place))
    assert packed.first().tolist() == [first_places(keys)[key] for key in sorted(set(keys))]
    assert packed.unique() == sorted(set(keys))


@given(KEYS, KEYS)
def test_looking_up(keys, wanted):
    places = first_places(keys)
    found = Table(Keys.of(keys)).find(Keys.of(wanted))
    assert found.tolist() == [places.get(key, -1) for key in wanted]
    assert Keys.of(wanted).without(Keys.of(keys)) == [key for key in wanted if key not in places]


@given(st.lists(KEYS, max_size=12), KEYS)
def test_places_of_keys_that_come_in_portions(portions, wanted):
    added = Places()
    for portion in portions:
        added.add(Keys.of(portion))
    together = [key for portion in portions for key in portion]
    places = first_places(together)
    assert added.find(Keys.of(wanted)).tolist() == [places.get(key, -1) for key in wanted]
    assert [key in added for key in wanted] == [key in places for key in wanted]
    assert added.keys == together
    assert added.find(Keys.of(together)).tolist() == [places[key] for key in together]
    assert Keys.joined(map(Keys.of, portions)) == together


def test_one_portion_after_the_other_costs_little():
    """The tables are few and each at least twice as long as the next, so a key is sorted again a few times only."""
    generator = np.random.default_rng(0)
    places = Places()
    for _ in range(100):
        places.add(Keys(generator.integers(0, 256, (10, 32), np.uint8)))
        lengths = [len(table.keys) for table in places._tables]
        assert all(longer >= 2 * shorter for longer, shorter in itertools.pairwise(lengths))


def test_memory_per_key(monkeypatch):
    """48 bytes for each key that can be looked up, and no more than twice that at any time."""
    monkeypatch.undo()
    generator = np.random.default_rng(0)
    count, portion = 2**16, 2**10
    tracemalloc.start()
    try:
        places = Places()
        for _ in range(count // portion):
            places.add(Keys(generator.integers(0, 256, (portion, 32), np.uint8)))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(places.keys.unique()) == count
    assert held / count < 55
    assert peak / count < 150
