import os
from pathlib import Path

import pytest

from fc7.extract import machine


@pytest.fixture
def groups(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_groups", lambda controller: iter([tmp_path / "a" / "b", tmp_path / "a", tmp_path]))
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path


def test_no_limit_is_none(groups):
    (groups / "cpu.max").write_text("max 100000\n")
    (groups / "memory.max").write_text("max\n")
    assert machine.quota() is None
    assert machine.memory().limit is None


def test_the_least_quota_of_all_groups_holds(groups):
    (groups / "cpu.max").write_text("400000 100000\n")
    (groups / "a" / "cpu.max").write_text("150000 100000\n")
    (groups / "a" / "b" / "cpu.max").write_text("max 100000\n")
    assert machine.quota() == 1.5


def test_the_older_control_groups_are_read(groups):
    (groups / "cpu.cfs_quota_us").write_text("50000\n")
    (groups / "cpu.cfs_period_us").write_text("100000\n")
    (groups / "memory.limit_in_bytes").write_text("1000000\n")
    assert machine.quota() == 0.5
    assert machine.cores() == 1
    assert machine.memory().limit == 1_000_000
    (groups / "cpu.cfs_quota_us").write_text("-1\n")
    assert machine.quota() is None


def test_cores_are_never_more_than_the_system_allows(groups):
    (groups / "cpu.max").write_text("99900000 100000\n")
    assert machine.cores() == (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())


@pytest.mark.parametrize("text", ["", "no numbers", "1 0", "1", "\xff"])
def test_what_cannot_be_read_limits_nothing(groups, text):
    (groups / "cpu.max").write_text(text)
    (groups / "memory.max").write_text(text if text not in ("1", "") else "")
    assert machine.cores() >= 1
    machine.memory()


def test_the_file_system_of_a_path_is_the_one_mounted_last_above_it(monkeypatch, tmp_path):
    mounts = f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n/dev/b {tmp_path}/with\\040space xfs rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: mounts)
    assert machine.file_system(tmp_path / "with space" / "x") == "xfs"
    assert machine.file_system(tmp_path / "with") == "tmpfs"
    assert machine.file_system(Path("/none")) == "ext4"
