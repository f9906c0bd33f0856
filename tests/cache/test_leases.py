import os
import subprocess
import sys

import pytest

from fc7.cache.leases import BEAT, STALE, Claims
from fc7.cache.owner import Process


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def claims(tmp_path, clock):
    return Claims(tmp_path / "claims", clock)


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


def test_a_silent_process_of_another_machine_loses_its_claim_in_time(claims, other, clock):
    path = other("unit", Process("elsewhere", "boot", 1))
    assert not claims.take("unit")
    clock.now += STALE - 1
    assert not claims.take("unit")
    os.utime(path, follow_symlinks=False)  # a sign of life
    clock.now += 2
    assert not claims.take("unit")
    clock.now += STALE + 1
    assert claims.take("unit")


def test_beats_touch_what_is_held_now_and_then(claims, tmp_path, clock):
    claims.take("unit")
    path = tmp_path / "claims" / "unit"
    os.utime(path, (1, 1), follow_symlinks=False)
    claims.beat()
    assert path.lstat().st_mtime == 1
    clock.now += BEAT
    claims.beat()
    assert path.lstat().st_mtime > 1


def test_where_nothing_can_be_written_nothing_is_forbidden(tmp_path):
    (tmp_path / "claims").write_text("a file where the folder should be")
    claims = Claims(tmp_path / "claims")
    assert claims.take("unit")
    claims.beat()
    claims.release_all()
