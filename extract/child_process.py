"""Processes of fc7's own, to which this one talks through their pipes, in pickles."""

import contextlib
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

# With the import paths of this process: another interpreter may not find them by itself.
_PROGRAM = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from {module} import serve
serve()
"""


class ChildProcess(subprocess.Popen[bytes]):
    """A process that runs ``serve()`` of a module; it ends when its input does, that is with this one at the latest.

    In a session of its own Ctrl-C does not reach it.

    Parameters
    ----------
    module
        By its full name.
    files
        Descriptors that it inherits.
    quiet
        Whether nobody reads what it prints.

    Raises
    ------
    OSError
        It cannot be started, or has ended already.
    """

    stdin: IO[bytes]
    stdout: IO[bytes]

    def __init__(self, module: str, *, files: Sequence[int] = (), quiet: bool = False) -> None:
        super().__init__(
            [sys.executable, "-I", "-c", _PROGRAM.format(module=module)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            pass_fds=files,
            start_new_session=True,  # a Ctrl-C does not reach it
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
        )
        try:
            self.send(sys.path)
        except OSError:
            self.end(0)
            raise

    def send(self, *messages: Any) -> None:
        """Send messages; raise BrokenPipeError if it has ended."""
        for message in messages:
            send(self.stdin, message)

    def receive(self) -> Any:
        """Wait for a message; raise EOFError or UnpicklingError if it ends before."""
        return pickle.load(self.stdout)

    def end(self, patience: float) -> int:
        """Give it so many seconds to end, then kill it; return its exit code."""
        with contextlib.suppress(OSError):
            self.stdin.close()
        try:
            self.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            self.wait()
        self.stdout.close()
        return int(self.returncode)


def send(pipe: IO[bytes], message: Any) -> None:
    """Write a message at once."""
    pickle.dump(message, pipe)
    pipe.flush()


def pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Return in such a process where requests come from, and where replies go; nothing else may go there."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, replies
