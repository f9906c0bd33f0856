"""A disk that loses its power: what was traced, and what of it may be left.

What was synced stays. Of a file's bytes that were not, any number may be there, from the front or here and there, the
others missing or zero. Of the names in a folder that were not, each may be there or not, whatever came before or after.
That is more than any file system loses.
"""

import itertools
import os
import threading
from dataclasses import dataclass, field

from faulty import between

PAGE = 512
RECORDED = ("open", "write", "fsync", "close", "link", "unlink", "mkdir", "rmdir", "rename", "replace")


class Stopped(BaseException):
    """The process ended here."""


class Trace:
    """What a process did to the files below a folder, in order; ``stop_at`` ends it at that call, for good.

    Events are tuples: ``("create", path, inode)``, ``("write", inode, data)``, ``("sync", inode or folder)``,
    ``("link", path, inode)``, ``("remove", path)``, ``("mkdir", path)`` and whatever :meth:`note` was given.
    """

    def __init__(self, root):
        self.root, self.events, self.stop_at = os.fspath(root), [], None
        self._lock = threading.RLock()
        self._inodes = itertools.count(1)
        self._descriptors, self._names = {}, {}

    def note(self, *event):
        with self._lock:
            self.events.append(event)

    def recording(self):
        return between(self, RECORDED, opens=False)

    def __call__(self, name, call, args):
        with self._lock:
            if self.stop_at is not None and len(self.events) >= self.stop_at and name != "close":
                raise Stopped
            result = call()
            getattr(self, f"_{name}")(result, *args)
            return result

    def _inside(self, path):
        path = os.fspath(path) if not isinstance(path, int) else ""
        return path if isinstance(path, str) and path.startswith(self.root) else None

    def _open(self, descriptor, path, flags, *_):
        path = self._inside(path)
        if path and flags & os.O_CREAT and flags & os.O_EXCL:
            inode = self._names[path] = next(self._inodes)
            self.events.append(("create", path, inode))
            self._descriptors[descriptor] = inode
        elif path:
            self._descriptors[descriptor] = self._names.get(path, path)

    def _write(self, count, descriptor, data):
        if descriptor in self._descriptors:
            self.events.append(("write", self._descriptors[descriptor], bytes(data)[:count]))

    def _fsync(self, _, descriptor):
        if descriptor in self._descriptors:
            self.events.append(("sync", self._descriptors[descriptor]))

    def _close(self, _, descriptor):
        self._descriptors.pop(descriptor, None)

    def _link(self, _, source, target, **__):
        self._names[os.fspath(target)] = self._names[os.fspath(source)]
        self.events.append(("link", os.fspath(target), self._names[os.fspath(target)]))

    def _replace(self, _, source, target):
        self._link(_, source, target)
        self._unlink(_, source)

    _rename = _replace

    def _unlink(self, _, path, **__):
        if self._inside(path):
            self._names.pop(os.fspath(path), None)
            self.events.append(("remove", os.fspath(path)))

    _rmdir = _unlink

    def _mkdir(self, _, path, *__):
        if self._inside(path):
            self.events.append(("mkdir", os.fspath(path)))


@dataclass
class Folder:
    """Names that are sure, and those that may be."""

    sure: dict = field(default_factory=dict)
    pending: list = field(default_factory=list)


class Disk:
    """The state that a power loss after some events may leave."""

    def __init__(self, root, events, *, syncs_files=True, syncs_folders=True):
        self.root = os.fspath(root)
        self.folders = {self.root: Folder()}
        self.sure, self.written = {}, {}
        self.skips = {kind for kind, syncs in ((int, syncs_files), (str, syncs_folders)) if not syncs}
        for kind, *rest in events:
            if known := getattr(self, f"_{kind}", None):
                known(*rest)

    def _name(self, path, what):
        folder, _, name = path.rpartition("/")
        self.folders[folder].pending.append((name, what))

    def _create(self, path, inode):
        self.sure[inode] = self.written[inode] = b""
        self._name(path, inode)

    def _write(self, inode, data):
        self.written[inode] += data

    def _sync(self, what):
        if type(what) in self.skips:
            return
        if isinstance(what, int):
            self.sure[what] = self.written[what]
        elif what in self.folders:
            folder = self.folders[what]
            for name, target in folder.pending:
                _apply(folder.sure, name, target)
            folder.pending = []

    def _link(self, path, inode):
        self._name(path, inode)

    def _remove(self, path):
        self._name(path, None)

    def _mkdir(self, path):
        self.folders[path] = Folder()
        self._name(path, path)

    def lose_power(self, target, chance):
        """Write what is left below ``target``, and return how many names and files were hit."""
        kept = chance.choice([0.0, 0.5, 1.0, chance.random()])  # of the names that are not sure
        contents = {inode: self._rest_of(inode, chance) for inode in self.written}
        hit = sum(contents[inode] != self.written[inode] for inode in contents)

        def lay(folder, path):
            nonlocal hit
            path.mkdir()
            names = dict(folder.sure)
            for name, what in folder.pending:
                if chance.random() < kept:
                    _apply(names, name, what)
                else:
                    hit += 1
            for name, what in names.items():
                if isinstance(what, int):
                    (path / name).write_bytes(contents[what])
                else:
                    lay(self.folders[what], path / name)

        lay(self.folders[self.root], target)
        return hit

    def _rest_of(self, inode, chance):
        sure, written = self.sure[inode], self.written[inode]
        rest = written[len(sure) :]
        if not rest:
            return written
        cut = chance.randrange(len(rest) + 1)
        pages = [rest[at : at + PAGE] for at in range(0, len(rest), PAGE)]
        return sure + chance.choice(
            [
                b"",
                rest,
                rest[:cut],
                bytes(len(rest)),
                rest[:cut] + bytes(len(rest) - cut),
                b"".join(page if chance.random() < 0.5 else bytes(len(page)) for page in pages),
            ]
        )


def _apply(names, name, what):
    if what is None:
        names.pop(name, None)
    else:
        names[name] = what
