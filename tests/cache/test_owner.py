import os
import subprocess
import sys

from fc7.cache.owner import Process


def test_a_token_round_trip():
    mine = Process.mine()
    assert Process.parse(mine.token) == mine
    assert mine.pid == os.getpid()
    assert Process.parse("nonsense") is None
    assert Process.parse("a-b-c") is None


def test_who_is_gone():
    mine = Process.mine()
    assert not mine.gone
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert mine._replace(pid=ended.pid).gone
    assert mine._replace(boot="00000000").gone  # this machine, before its last start
    assert not mine._replace(host="00000000", pid=ended.pid).gone  # nothing is known of another machine
