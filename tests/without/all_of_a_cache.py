"""What a cache is for, in a folder that is given: rows written, read, merged and tidied, claims, locks and outputs."""

import os
import sys
from pathlib import Path

from shards import RECIPE, key, rows, shard

from fc7.cache import Store, maintenance, verify
from fc7.cache.directory import alone
from fc7.cache.leases import Claims, owner_of
from fc7.cache.output_file import OutputFile
from fc7.cache.processes import Process
from fc7.cache.system import lock, open_lock_of, read_bytes_at
from fc7.errors import CacheError


def wrong(store, numbers):
    return int((store.rows([key(number) for number in numbers]) != rows(*numbers)).any(axis=1).sum())


def main(folder):
    cache = folder / "cache"
    store = Store(RECIPE, cache)
    store.append(shard(*range(8)))
    store.append(shard(*range(8, 16)))
    store.append(shard(*range(8)))  # as another writer would
    again = Store(RECIPE, cache)
    assert sum(key(number) in again for number in range(16)) == 16
    assert wrong(again, range(16)) == 0
    assert [after for _, _, after in maintenance.compact(cache)] == [1]
    assert wrong(Store(RECIPE, cache), range(16)) == 0

    claims = Claims(cache / "claims", beat=0.01)
    assert claims.take("unit")
    assert owner_of(cache / "claims" / "unit") == Process.mine()
    assert not Claims(cache / "claims").take("unit")
    assert not [entry for entry in maintenance.gc(cache) if "claim" in entry.reason]  # its owner is alive
    claims.release_all()
    assert not (cache / "claims" / "unit").exists()

    with alone(cache):
        try:
            with alone(cache):
                raise AssertionError("two have the lock")
        except CacheError as error:
            assert "Another repair" in str(error), error
    locks = [open_lock_of(folder) for _ in range(2)]
    lock(locks[0])
    try:
        lock(locks[1])
        raise AssertionError("two have the lock of a folder")
    except BlockingIOError:
        pass

    (path,) = (cache / "recipes").rglob("shards/*/*.h5")
    with path.open("rb") as file:
        assert read_bytes_at(file.fileno(), 4, 512) == b"\x89HDF"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(verify.repair(cache)) == 1
    assert not any(key(number) in Store(RECIPE, cache) for number in range(16))

    output = OutputFile(folder / "rows.csv")
    assert output.write(b"a\nb\n").read_bytes() == b"a\nb\n"
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "fifo")
        descriptor = os.open(folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        OutputFile(folder / "fifo").write(b"through")
        assert os.read(descriptor, 10) == b"through"
    print(verify.durability(cache).split()[0])  # noqa: T201


main(Path(sys.argv[1]))
