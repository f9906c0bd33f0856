"""The process that left a claim or temporary file, and whether it has certainly ended."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self


class Process(NamedTuple):
    """A process, identified by machine, boot and process id. ``token`` is short and safe in a file name."""

    host: str
    boot: str
    pid: int

    @classmethod
    def mine(cls) -> Self:
        """Return this process."""
        return cls(*_here(), os.getpid())

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Read :attr:`token`; None if the text is not a token."""
        fields = token.split("-")
        return cls(fields[0], fields[1], int(fields[2])) if len(fields) == 3 and fields[2].isdecimal() else None

    @property
    def token(self) -> str:
        """The process as text without spaces or slashes."""
        return f"{self.host}-{self.boot}-{self.pid}"

    @property
    def gone(self) -> bool:
        """Whether the process has certainly ended: it ran on this machine, which has no such process now.

        Nothing is known about a process on another machine, so the answer is False.
        """
        host, boot = _here()
        if self.host != host:
            return False
        if self.boot != boot:
            return True
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # no process can have a number that is too large
            return True
        except PermissionError:  # alive, another user's
            return False
        return False


@cache
def _here() -> tuple[str, str]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = ""
    return _short(os.uname().nodename), _short(boot)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
