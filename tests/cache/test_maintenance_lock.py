import os
import stat

import pytest

from fc7.cache import directory as cache_directory
from fc7.cache.directory import alone
from fc7.errors import CacheError


@pytest.fixture(autouse=True)
def cache(store):
    """Somebody has filled the cache."""


def test_one_at_a_time(directory):
    with alone(directory) as held:
        assert held == directory
        with pytest.raises(CacheError, match="Another repair, gc or compact is at work"), alone(directory):
            pass
    with alone(directory):
        pass


@pytest.mark.parametrize("mask", [0o002, 0o022, 0o077])
def test_the_umask_decides_who_may_write_it(directory, umask, mask):
    umask(mask)
    with alone(directory):
        pass
    assert stat.S_IMODE((directory / "maintenance.lock").stat().st_mode) == 0o666 & ~mask


def test_the_lock_of_another_user_can_be_held(directory, monkeypatch):
    """Who may read it may lock it."""
    (directory / "maintenance.lock").touch()
    real = os.open

    def refuse_to_write(path, flags, *mode):
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, flags, *mode)

    monkeypatch.setattr(cache_directory.os, "open", refuse_to_write)
    with alone(directory), pytest.raises(CacheError, match="is at work"), alone(directory):
        pass
    (directory / "maintenance.lock").unlink()
    with pytest.raises(CacheError, match="cannot be used: Permission denied"), alone(directory):
        pass
