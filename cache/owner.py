"""A process as others see it: who left this claim or temporary file, and whether that process is surely gone."""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self


class Process(NamedTuple):
    """A process on some machine since some start of it. ``token`` is short and safe in a file name."""

    host: str
    boot: str
    pid: int

    @classmethod
    def mine(cls) -> Self:
        """Return this process."""
        return cls(*_here(), os.getpid())

    @classmethod
    def parse(cls, token: str) -> Self | None:
        """Read :attr:`token`; None if it is none."""
        parts = token.split("-")
        return cls(parts[0], parts[1], int(parts[2])) if len(parts) == 3 and parts[2].isdecimal() else None

    @property
    def token(self) -> str:
        """The process as text without spaces or slashes."""
        return f"{self.host}-{self.boot}-{self.pid}"

    @property
    def gone(self) -> bool:
        """Whether the process has surely ended: it was of this machine, and this machine has no such process now.

        Of another machine's process nothing is known, so the answer is False.
        """
        host, boot = _here()
        if self.host != host:
            return False
        if self.boot != boot:
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
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
