"""Waiting: for a condition, never for a fixed time, which a busy machine exceeds."""

import time

LONG = 240  # seconds, on however busy a machine: a test that waits for so long hangs


def until(condition, *, hangs=LONG):
    """Wait until a condition holds, and return what it returned; fail if it never does."""
    end = time.monotonic() + hangs
    while not (found := condition()):
        assert time.monotonic() < end, "this should have happened long ago"
        time.sleep(0.005)
    return found


def spend(seconds):
    """Take time, as work does, or up to a moment that chance has chosen: nothing is waited for."""
    time.sleep(seconds)
