import os
import subprocess
import sys
import threading

import pytest
from waiting import until

from fc7.cache.leases import STALE, Claims, owner_of
from fc7.cache.processes import Process


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def claims(tmp_path, clock):
    claims = Claims(tmp_path / "claims", clock, beat=0.01)
    yield claims
    claims.release_all()


@pytest.fixture
def other(tmp_path):
    """Leave a claim of another process."""

    def leave(unit, process):
        path = tmp_path / "claims" / unit
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(process.token)
        return path

    return leave


def test_a_unit_is_taken_once_until_it_is_released(claims, tmp_path):
    stranger = Claims(tmp_path / "claims")
    assert claims.take("unit")
    assert claims.take("unit")
    assert not stranger.take("unit")
    stranger.release("unit")
    assert not stranger.take("unit")
    claims.release("unit")
    assert stranger.take("unit")
    stranger.release_all()
    assert list((tmp_path / "claims").iterdir()) == []


def test_a_dead_process_holds_nothing(claims, other):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    other("unit", Process.mine()._replace(pid=ended.pid))
    assert claims.take("unit")


@pytest.mark.parametrize(
    "owner",
    [
        Process("0" * 8, "1" * 8, 1, "2+3", "4"),
        Process.mine()._replace(namespaces="1+2", pid=2**30),
        Process.mine()._replace(boot="0" * 8, pid=2**30),
    ],
    ids=["machine", "namespace", "boot"],
)
def test_a_silent_process_that_cannot_be_judged_loses_its_claim_in_time(claims, other, clock, owner):
    path = other("unit", owner)
    assert not claims.take("unit")
    clock.now += STALE - 1
    assert not claims.take("unit")
    os.utime(path, follow_symlinks=False)  # a sign of life
    clock.now += 2
    assert not claims.take("unit")
    clock.now += STALE + 1
    assert claims.take("unit")


def wait_for_a_touch(path):
    os.utime(path, (1, 1), follow_symlinks=False)
    until(lambda: path.lstat().st_mtime > 1)


def test_what_is_held_is_renewed_until_it_is_released(claims, tmp_path):
    """By a thread: whoever took it may be at work for hours, or wait for a terminal that is stopped."""
    before = threading.enumerate()
    for _ in range(2):
        assert claims.take("unit")
        assert claims.take("other")
        wait_for_a_touch(tmp_path / "claims" / "unit")
        claims.release("other")
        wait_for_a_touch(tmp_path / "claims" / "unit")
        claims.release_all()
        assert "fc7 claims" not in [thread.name for thread in threading.enumerate() if thread not in before]


def test_a_claim_that_was_taken_over_is_the_other_one_s(claims, other, tmp_path):
    """As after a night in which the machine slept."""
    heir = Process.mine()._replace(pid=os.getppid())
    claims.take("mine")
    claims.take("unit")
    (tmp_path / "claims" / "unit").unlink()
    path = other("unit", heir)
    os.utime(path, (1, 1), follow_symlinks=False)
    wait_for_a_touch(tmp_path / "claims" / "mine")
    wait_for_a_touch(tmp_path / "claims" / "mine")
    assert path.lstat().st_mtime == 1
    claims.release_all()
    assert owner_of(path) == heir


def test_a_file_that_is_no_claim_is_left_until_its_time_is_over(claims, tmp_path, clock):
    (tmp_path / "claims").mkdir()
    (tmp_path / "claims" / "unit").write_text("no link")
    assert owner_of(tmp_path / "claims" / "unit") is None
    assert not claims.take("unit")
    clock.now += STALE + 1
    assert claims.take("unit")
    assert owner_of(tmp_path / "claims" / "unit") == Process.mine()


def test_where_nothing_can_be_written_nothing_is_forbidden(tmp_path):
    (tmp_path / "claims").write_text("a file where the folder should be")
    claims = Claims(tmp_path / "claims")
    assert claims.take("unit")
    claims.release_all()
