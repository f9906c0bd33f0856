"""A cache that the users of a group share."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from faulty import RECIPE, Child, key, unit, wrong

from fc7.cache import Store
from fc7.cache.index import Index
from fc7.cache.leases import Claims
from fc7.cache.maintenance import gc
from fc7.cache.processes import Process

GROUP = 54321
FIRST, SECOND = 54322, 54323
GONE = Process.mine()._replace(pid=2**30)  # no process can have this number

pytestmark = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users, one after the other"
)


@pytest.fixture
def shared():
    """A folder of the group, in which new files are the group's."""
    folder = Path(tempfile.mkdtemp())
    os.chown(folder, -1, GROUP)
    folder.chmod(0o2775)
    Store(RECIPE, folder / "imported").append(unit([9]))  # whatever is imported, is imported by root
    shutil.rmtree(folder / "imported")
    yield folder
    shutil.rmtree(folder)


def work_as(user, mask, output, work):
    """Do something as a user of the group, in a child; return what it says."""

    def child(say):
        os.setgroups([GROUP])
        os.setegid(GROUP)
        os.seteuid(user)
        os.umask(mask)
        work(say)

    code, said = Child(child, output).wait(60)
    assert code == 0, output.read_text()
    return said


def fill(cache):
    """Commit a unit and leave the files of a process that is gone, an index and a lock."""
    store = Store(RECIPE, cache)
    store.append(unit(range(4)))
    Index(cache).remember_files([(b"/first.png", "1 0 0 0", bytes(32))])
    (store.folder / "tmp" / f"left.{GONE.token}.0123abcd").touch()
    claims = Claims(cache / "claims")
    claims.take("claimed")
    claims.release_all()
    (cache / "claims" / "left").symlink_to(GONE.token)
    (cache / "maintenance.lock").touch()


def hear(say):
    handler = logging.Handler()
    handler.emit = lambda record: say(f"{record.levelname} {record.getMessage()}")
    logging.getLogger("fc7").addHandler(handler)
    logging.getLogger("fc7").setLevel(logging.INFO)


@pytest.mark.parametrize("mask", [0o002, 0o007])
def test_the_second_user_writes_collects_and_has_the_index(shared, tmp_path, mask):
    cache = shared / "cache"

    def second(say):
        hear(say)
        store = Store(RECIPE, cache)
        store.append(unit(range(4, 8)))
        Index(cache).remember_files([(b"/second.png", "1 0 0 0", bytes(32))])
        assert Claims(cache / "claims").take("left")
        for removed in gc(cache):
            say(f"removed {removed.file.split('/')[-1].split('.')[0]}")
        say(f"forgot {Index(cache).forget_files(lambda path: True)}")
        assert not wrong(store, range(8))

    work_as(FIRST, mask, tmp_path / "first", lambda say: fill(cache))
    said = work_as(SECOND, mask, tmp_path / "second", second)
    assert said == ["removed left", "forgot 0"], "claims, temporary files and the index are everybody's"
    assert [path.stat().st_gid for path in cache.rglob("*") if not path.is_symlink()].count(GROUP) > 10
    assert len(Store(RECIPE, cache)) == 8


def test_what_the_second_user_may_only_read_is_read_and_said_once(shared, tmp_path):
    cache = shared / "cache"

    def second(say):
        hear(say)
        store = Store(RECIPE, cache)
        assert not wrong(store, range(4))
        assert not store.missing([key(number) for number in range(4)])
        assert len(Index(cache).shards(RECIPE.id)) == 1
        for _ in range(3):
            Index(cache).remember_files([(b"/second.png", "1 0 0 0", bytes(32))])
        assert Claims(cache / "claims").take("unit"), "without a claim"
        say(f"{len(gc(cache, dry_run=True))} would go")

    work_as(FIRST, 0o022, tmp_path / "first", lambda say: fill(cache))
    said = work_as(SECOND, 0o022, tmp_path / "second", second)
    assert len(said) == 2, said
    assert said[0].startswith(f"INFO the index {cache / 'index.sqlite'} is not used: attempt to write a readonly")
    assert said[1] == "2 would go"
