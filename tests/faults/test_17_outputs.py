"""Outputs: what is at the name of an output keeps its kind; what cannot be written is refused first, in one line."""

import contextlib
import csv
import io
import os
import pty
import socket
import stat
import threading
from pathlib import Path

import pytest
from command_line import SQUEEZENET
from fakes import noisy, one_line

pytestmark = pytest.mark.usefixtures("shared_cache")

FOLDERS = {"finetune -o", "compare -o", "demo -o"}
SLOW = {"export -o", "finetune -o", "demo -o", "compare -o", "review -o"}  # only whether they refuse
SUFFIX = {"fit -o": ".fc7", "export -o": ".pt2", "cache export": ".h5"}


@pytest.fixture(scope="module")
def exported(shared_home):
    """The embeddings of the data set, and records, so that no verb computes any."""
    from fc7.cli import main

    cache = ["--cache", str(shared_home / "cache"), "--quiet"]
    data, h5, runs = str(shared_home / "data"), shared_home / "outputs.h5", shared_home / "outputs-runs"
    assert main(["extract", data, *SQUEEZENET, *cache]) == 0
    assert main(["cache", "export", str(h5), data, *SQUEEZENET, *cache]) == 0
    assert main(["compare", str(h5), "--heads", "centroid", "-o", str(runs), "--no-learning-curve", *cache[2:]]) == 0
    return {"data": data, "h5": h5, "runs": runs}


@pytest.fixture
def words(exported, bundle):
    """Return the words of a verb that writes one output."""
    h5, runs, data = exported["h5"], exported["runs"], exported["data"]
    options = {
        "fit -o": ["fit", h5, "--head", "centroid", "--folds", "2", "-o"],
        "audit --csv": ["audit", h5, "--head", "centroid", "--allow-leakage", "--csv"],
        "audit -o": ["audit", h5, "--head", "centroid", "--allow-leakage", "-o"],
        "report -o": ["report", runs, "-o"],
        "report --csv": ["report", runs, "--csv"],
        "report --markdown": ["report", runs, "--markdown"],
        "cache export": ["cache", "export", None, data, *SQUEEZENET],
        "export -o": ["export", bundle, "-o"],
        "finetune -o": ["finetune", data, "--backbone", "squeezenet1_1", "--weights", "random:0", "-o"],
        "compare -o": ["compare", h5, "--heads", "centroid", "-o"],
        "demo -o": ["demo", "-o"],
        "review -o": ["review", data, *SQUEEZENET, "-o"],
    }

    def make(option, output):
        given = options[option]
        return [output if word is None else word for word in given] + ([] if None in given else [output])

    return make


WRITTEN = ["fit -o", "audit --csv", "audit -o", "report -o", "report --csv", "report --markdown", "cache export"]
ALL = [*WRITTEN, *sorted(SLOW)]


def kind_of(path):
    status = path.lstat()
    return stat.S_IFMT(status.st_mode), status.st_rdev, path.readlink() if path.is_symlink() else None


def device(path, minor):
    """Make a device of our own, like /dev/null (3) or /dev/full (7)."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.open("rb").close()
    except OSError:
        pytest.skip("this user may not make devices")
    return path


def test_a_device_is_written_through(fc7, words, tmp_path, figure):
    for option in WRITTEN:
        null = device(tmp_path / f"null-{option.replace(' ', '')}{SUFFIX.get(option, '')}", 3)
        before = kind_of(null)
        code, _, err = fc7(*words(option, null), "--quiet")
        assert (code, kind_of(null)) == (0, before), err
    figure("Outputs onto devices, FIFOs, links", f"{len(ALL)} outputs of all verbs onto 12 kinds", "0 replaced")


def test_a_full_device_is_one_line(fc7, words, tmp_path):
    for option in WRITTEN:
        full = device(tmp_path / f"full-{option.replace(' ', '')}{SUFFIX.get(option, '')}", 7)
        before = kind_of(full)
        code, out, err = fc7(*words(option, full), "--quiet")
        assert (code, out, kind_of(full)) == (1, "", before)
        assert "No space left on device" in one_line(err)


def test_a_fifo_with_a_reader_gets_the_content(fc7, words, tmp_path):
    for option in WRITTEN:
        fifo, got = tmp_path / f"fifo-{option.replace(' ', '')}{SUFFIX.get(option, '')}", []
        os.mkfifo(fifo)
        descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        ready = threading.Event()

        def read(descriptor=descriptor, got=got, ready=ready):
            ready.wait()  # a reader that comes before the writer would see the end at once
            with os.fdopen(descriptor, "rb") as reader:
                got.append(reader.read())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        plain = tmp_path / f"plain{SUFFIX.get(option, '')}"
        assert fc7(*words(option, plain), "--quiet")[0] == 0
        original = os.open

        def watched(path, *given, original=original, ready=ready, fifo=fifo, **more):
            result = original(path, *given, **more)
            if str(path) == str(fifo):
                ready.set()
            return result

        os.open = watched
        try:
            code, _, err = fc7(*words(option, fifo), "--quiet")
        finally:
            os.open = original
            ready.set()
            reader.join(30)
        assert code == 0, err
        assert stat.S_ISFIFO(fifo.lstat().st_mode)
        assert len(got[0]) > 0.9 * plain.stat().st_size


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_stays_and_its_target_is_written(fc7, words, tmp_path, dangling):
    far = tmp_path / "far"
    far.mkdir()
    for option in WRITTEN:
        suffix = SUFFIX.get(option, "")
        target, link = far / f"{option.replace(' ', '')}{suffix}", tmp_path / f"link-{option.replace(' ', '')}{suffix}"
        if not dangling:
            target.write_text("old")
            target.chmod(0o600)
        link.symlink_to(target)
        code, _, err = fc7(*words(option, link), "--quiet")
        assert code == 0, err
        assert link.is_symlink()
        assert target.stat().st_size > 3
        assert dangling or stat.S_IMODE(target.stat().st_mode) == 0o600
    assert [path.name for path in far.iterdir() if path.name.startswith(".")] == []


def obstacles(folder, suffix):
    """Make one of each kind that nothing can be written to, by name."""
    made = {name: folder / f"{name}{suffix}" for name in ("folder", "fifo", "socket", "loop", "disk")}
    made["folder"].mkdir()
    os.mkfifo(made["fifo"])
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(folder):
        listener.bind(made["socket"].name)  # a socket's path may have 107 bytes
    made["loop"].symlink_to(made["loop"].name)
    (folder / "file").write_text("x")
    made["below"] = folder / "file" / f"below{suffix}"
    made["long"] = folder / ("x" * 240 + suffix)
    made["null"] = folder / f"a\0b{suffix}"
    made["forbidden"] = Path(f"/proc/fc7-writes-here{suffix}")  # nobody may, root neither
    try:
        os.mknod(made["disk"], stat.S_IFBLK | 0o600, os.makedev(7, 250))
    except OSError:
        del made["disk"]
    leader, follower = pty.openpty()
    made["terminal"] = folder / f"terminal{suffix}"
    made["terminal"].symlink_to(os.ttyname(follower))
    return made, (leader, follower)


@pytest.mark.parametrize("option", ALL)
def test_what_cannot_be_written_is_refused_before_anything_else(fc7, words, tmp_path, option):
    """DATA is not there, too: that is found out later."""
    made, ends = obstacles(tmp_path, SUFFIX.get(option, ""))
    if option in FOLDERS:
        for name in ("folder", "long"):
            del made[name]  # a folder of this name can be made
    try:
        for name, path in made.items():
            before = kind_of(path) if name not in ("below", "long", "null", "forbidden") else None
            given = words(option, path)
            if option not in ("demo -o", "export -o"):
                given[3 if option == "cache export" else 1] = tmp_path / "absent"
            code, out, err = fc7(*given)
            assert (code, out) == (1, ""), (name, err)
            assert "cannot be written" in one_line(err), name
            assert before is None or kind_of(path) == before
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_an_input_that_is_no_file_is_refused_and_not_waited_for(fc7, words, exported, bundle, tmp_path, kind):
    def odd(name):
        path = tmp_path / name
        os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
        return path

    (tmp_path / "runs").mkdir()
    odd("runs/0123456789abcdef.json")
    h5, data = exported["h5"], exported["data"]
    weights = ["--backbone", "squeezenet1_1", "--weights"]
    for given in (
        ["report", tmp_path / "runs", "-o", tmp_path / "x.html"],
        ["predict", odd("b.fc7"), data],
        ["export", odd("c.fc7"), "-o", tmp_path / "x.pt2"],
        ["extract", data, *weights, f"file:{odd('w.pth')}"],
        ["extract", odd("d.csv"), *SQUEEZENET],
        ["fit", odd("e.h5"), "-o", tmp_path / "x.fc7"],
        ["cache", "import", odd("f.h5")],
        ["compare", h5, "--heads", "centroid", "-o", tmp_path / "y", "--add", f"theirs={odd('g.csv')}"],
        ["predict", bundle, odd("h.png")],
        ["review", data, *SQUEEZENET, "-o", odd("i.csv")],
    ):
        code, _, err = fc7(*given, "--quiet")
        assert code == 1, given
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 2, (given, err)


HOSTILE = "\x1b[31m\u202e=1+1\n<script>|`"


def test_hostile_names_reach_no_medium_as_they_are(fc7, bundle, tmp_path):
    """A class, images, a link that loops back and a file that is no image have one.

    Csvs are for programs and have names exactly, but no cell that a spreadsheet calculates.
    """
    data = tmp_path / "data"
    for place, label in enumerate((f"{HOSTILE}a", "b")):
        for number in range(6):
            noisy(
                data / label / f"{HOSTILE}{number}.png", (20 + 180 * place, 20, 200 - 180 * place), 10 * place + number
            )
    copied = data / f"{HOSTILE}a" / f"{HOSTILE}0.png"
    copied.with_name(f"{HOSTILE}copy.png").write_bytes(copied.read_bytes())
    (data / "b" / f"{HOSTILE}loop").symlink_to(data)
    (data / "b" / f"{HOSTILE}.gif").write_text("no image")
    h5, runs, files = tmp_path / "x.h5", tmp_path / "runs", [tmp_path / name for name in ("a.html", "b.csv", "c.md")]
    said, tables = [], []
    for given in (
        ["extract", data, *SQUEEZENET],
        ["cache", "export", h5, data, *SQUEEZENET],
        ["audit", data, *SQUEEZENET, "--head", "centroid", "-o", files[0], "--csv", files[1]],
        ["compare", data, *SQUEEZENET, "--heads", "centroid", "--no-learning-curve", "-o", runs],
        ["report", runs, "--markdown", files[2]],
        ["predict", bundle, data],
        ["fit", data / "b" / f"{HOSTILE}none", "-o", tmp_path / f"{HOSTILE}.fc7"],
        ["fit", data, *SQUEEZENET, "--head", "centroid", "-o", tmp_path / f"{HOSTILE}.fc7"],
    ):
        code, out, err = fc7(*given)
        assert code in (0, 1), err
        said.append(err)
        (tables if given[0] == "predict" else said).append(out)
    page, table, markdown = (file.read_bytes().decode() for file in files)
    tables.append(table)
    for text in (*said, page, markdown):
        assert not {"\x1b", "\u202e"} & set(text)
    assert "a link that loops back" in said[0] + said[1]
    assert "<script>|" not in page
    for table in tables:
        cells = {cell for row in csv.reader(io.StringIO(table, newline="")) for cell in row}
        assert any(HOSTILE in cell for cell in cells)
        assert not any(cell.startswith(("=", "+", "@")) for cell in cells)
