"""Fault test 7: embeddings files made to read other files, to fill the memory, or to load code. All are refused."""

import json
import os
import shutil
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from fc7.cache import Embeddings, Recipe
from fc7.cache.flat_h5 import MAX_CHUNK_BYTES
from fc7.errors import DataError

SECRET = b"the-secret-of-another-file-" * 400
RSS_LIMIT = 300 * 2**20
ROWS, DIM = 3, 4


def embeddings():
    return Embeddings(
        vectors=np.arange(ROWS * DIM, dtype=np.float16).reshape(ROWS, DIM),
        labels=np.array(["bee", "ant", "bee"]),
        paths=np.array(["a.jpg", "b.jpg", "c.jpg"]),
        split=np.array(["train", "train", "val"]),
        group=np.array(["", "", ""]),
        sha256=np.arange(ROWS * 32, dtype=np.uint8).reshape(ROWS, 32),
        classes=("ant", "bee"),
        recipe=Recipe("fake", "tiles", DIM, "f" * 64),
    )


# Each takes an open, good file and the folder with the secret.


def other(name, shape=(ROWS, DIM), dtype="f2", **options):
    def change(file, _):
        del file[name]
        file.create_dataset(name, shape, dtype, **options)

    return change


def holding(name, data, **options):
    def change(file, _):
        del file[name]
        file.create_dataset(name, data=data, **options)

    return change


def attribute(name, data, dtype=None):
    def change(file, _):
        del file.attrs[name]
        file.attrs.create(name, data, dtype=dtype)

    return change


def external_storage(name, dtype):
    def change(file, folder):
        shape = file[name].shape
        del file[name]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        file.create_dataset(name, shape, dtype, external=[(str(folder / "secret"), 0, size)])

    return change


def external_link(file, folder):
    del file["labels"]
    file["labels"] = h5py.ExternalLink(str(folder / "secret.h5"), "/labels")


def soft_link(file, _):
    file.move("labels", "paths2")
    file["labels"] = h5py.SoftLink("/paths")
    del file["paths2"]


def dangling_link(file, _):
    del file["labels"]
    file["labels"] = h5py.SoftLink("/nowhere")


def virtual(maxshape):
    def change(file, folder):
        del file["embeddings"]
        layout = h5py.VirtualLayout((ROWS, DIM), "f2", maxshape=maxshape)
        layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "vectors", (ROWS, DIM))
        file.create_virtual_dataset("embeddings", layout)

    return change


def chunk_that_inflates(file, _):
    """A chunk of some hundred bytes by its shape, a gigabyte by its contents, a megabyte on the disk.

    Of a chunk with fewer bytes than 256, HDF5 1.14 cannot write that it has a megabyte.
    """
    del file["embeddings"]
    options = {"chunks": (128, DIM), "maxshape": (None, DIM), "compression": "gzip"}
    made = file.create_dataset("embeddings", (ROWS, DIM), "f2", **options)
    zeros, checksum, pack = bytes(2**24), 1, zlib.compressobj(9, wbits=-15)
    block = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)  # stands for itself, and is there 64 times
    for _ in range(64):
        checksum = zlib.adler32(zeros, checksum)
    packed = b"\x78\xda" + 64 * block + pack.flush() + checksum.to_bytes(4)
    made.id.write_direct_chunk((0, 0), packed)


def filters(number):
    def change(file, _):
        del file["embeddings"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((ROWS, DIM))
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((ROWS, DIM))
        h5py.h5d.create(file.id, b"embeddings", h5py.h5t.IEEE_F16LE, space, plist)

    return change


def twice_deflated(file, _):
    del file["embeddings"]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((ROWS, DIM))
    plist.set_deflate(9)
    plist.set_deflate(9)
    h5py.h5d.create(file.id, b"embeddings", h5py.h5t.IEEE_F16LE, h5py.h5s.create_simple((ROWS, DIM)), plist)


def one_string_for_all(chunks):
    """Every row of 4,000 names the same string of a megabyte: four gigabytes from a file of one."""

    def change(file, _):
        rows = 4000
        for name in list(file):
            del file[name]
        file["embeddings"] = np.zeros((rows, DIM), np.float16)
        file["sha256"] = np.zeros((rows, 32), np.uint8)
        for name in ("paths", "split"):
            file.create_dataset(name, data=["x"] * rows, dtype=h5py.string_dtype())
        labels = ["x" * 2**20] + ["x"] * (rows - 1)
        made = file.create_dataset("labels", data=labels, dtype=h5py.string_dtype(), chunks=(rows,) if chunks else None)
        file.flush()
        if chunks:
            mask, raw = made.id.read_direct_chunk((0,))
            made.id.write_direct_chunk((0,), raw[:16] * rows, mask)
        else:
            change.patch = (made.id.get_offset(), 16, rows)

    return change


def to_itself(file, _):
    del file["labels"]
    file["labels"] = file["/"]


def linked_twice(file, _):
    del file["labels"]
    file["labels"] = file["paths"]


def named_type(file, _):
    del file["embeddings"]
    file.attrs["recipe"] = file.attrs["recipe"]
    file["group2"] = np.dtype("f2")
    file.create_dataset("embeddings", data=np.zeros((ROWS, DIM), "f2"), dtype=file["group2"])
    del file["group2"]


def many_members(file, _):
    for number in range(2000):
        file[f"member {number}"] = number


LONG = h5py.string_dtype()
ATTACKS = {
    "external storage, embeddings": external_storage("embeddings", "f2"),
    "external storage, sha256": external_storage("sha256", "u1"),
    "external storage, labels": external_storage("labels", "S9"),
    "external link": external_link,
    "soft link": soft_link,
    "dangling link": dangling_link,
    "virtual dataset": virtual((ROWS, DIM)),
    "virtual dataset, unlimited": virtual((None, DIM)),
    "shape bomb, 4 TB": other("embeddings", (2**38, 8)),
    "shape bomb, packed": other("embeddings", (ROWS, 2**36), chunks=(1, 2**20), compression="gzip"),
    "shape bomb, rows of sha256": other("sha256", (2**40, 32), "u1", chunks=(2**10, 32)),
    "shape bomb, labels": other("labels", (2**40,), LONG, chunks=(2**10,)),
    "shape bomb, wide labels": other("labels", (ROWS,), "S1000000000"),
    "chunk bomb": holding("embeddings", np.zeros((1, 2**29), "f2"), chunks=(1, 2**29), compression="gzip"),
    "chunk bomb, inflating": chunk_that_inflates,
    "chunk bomb, lzf": other("embeddings", (ROWS, 2**22), chunks=(1, 2**22), compression="lzf"),
    "filter 32015": filters(32015),
    "filter 305": filters(305),
    "filter scale-offset": other("sha256", (ROWS, 32), "u1", scaleoffset=1),
    "filter nbit": filters(5),
    "deflated twice": twice_deflated,
    "strings, one for all": one_string_for_all(chunks=False),
    "strings, one for all, in chunks": one_string_for_all(chunks=True),
    "strings, one long": holding("labels", ["ant", "bee", "x" * 2**20], dtype=LONG),
    "strings, not text": holding("labels", [b"\xff\xfe", b"bee", b"ant"], dtype=LONG),
    "extra member": lambda file, _: file.create_dataset("extra", data=[1]),
    "many members": many_members,
    "absent member": lambda file, _: file.__delitem__("sha256"),
    "a group for a dataset": lambda file, _: (file.__delitem__("labels"), file.create_group("labels")),
    "a type for a dataset": lambda file, _: (file.__delitem__("labels"), file.__setitem__("labels", np.dtype("f2"))),
    "a circle": to_itself,
    "linked twice": linked_twice,
    "a named type": named_type,
    "rank 3": other("embeddings", (ROWS, DIM, 1)),
    "rank 0": other("embeddings", ()),
    "no space at all": holding("embeddings", h5py.Empty("f2")),
    "no rows": other("embeddings", (0, DIM)),
    "no columns": other("embeddings", (ROWS, 0)),
    "row counts": other("embeddings", (ROWS + 1, DIM)),
    "columns of sha256": other("sha256", (ROWS, 31), "u1"),
    "other dimension": other("embeddings", (ROWS, DIM + 1)),
    "dtype f8": other("embeddings", dtype="f8"),
    "dtype big-endian": other("embeddings", dtype=">f2"),
    "dtype i2": other("embeddings", dtype="i2"),
    "dtype compound": other("embeddings", dtype=[("a", "f2"), ("b", "f2")]),
    "dtype array": other("embeddings", dtype="(2,)f2"),
    "dtype reference": other("embeddings", dtype=h5py.ref_dtype),
    "dtype region reference": other("labels", (ROWS,), h5py.regionref_dtype),
    "dtype ragged": other("labels", (ROWS,), h5py.vlen_dtype("u1")),
    "dtype ragged vectors": other("embeddings", (ROWS, DIM), h5py.vlen_dtype("f2")),
    "dtype opaque": other("sha256", (ROWS, 32), h5py.opaque_dtype(np.dtype("V1"))),
    "dtype enum": other("sha256", (ROWS, 32), h5py.enum_dtype({"a": 1}, "u1")),
    "dtype numbers for labels": holding("labels", np.zeros(ROWS)),
    "not finite": holding("embeddings", np.array([[np.nan] * DIM, [np.inf] * DIM, [0] * DIM], "f2")),
    "a label of no class": holding("labels", ["ant", "ant", "wasp"], dtype=LONG),
    "an unknown split": holding("split", ["train", "train", "dev"], dtype=LONG),
    "attribute, huge": attribute("recipe", np.bytes_(b"x" * 50 * 2**20)),
    "attribute, huge text": attribute("classes", "x" * 50 * 2**20, LONG),
    "attribute, many": attribute("recipe", ["x"] * 4000, LONG),
    "attribute, a number": attribute("classes", 7),
    "attribute, a compound": attribute("seconds", np.zeros(1, [("a", "f8")])[0]),
    "attribute, a reference": lambda file, _: attribute("name", file["labels"].ref, h5py.ref_dtype)(file, _),
    "attribute, empty": attribute("recipe", h5py.Empty("S1")),
    "attribute, nested": attribute("classes", "[" * 100_000),
    "attribute, not a list": attribute("classes", '{"ant": 1, "bee": 2}'),
    "attribute, a class twice": attribute("classes", '["ant", "bee", "ant"]'),
    "attribute, another recipe": attribute("recipe", "{}"),
    "attribute, none": lambda file, _: file.attrs.__delitem__("recipe"),
}


def build(folder):
    """Write all hostile files and return their paths by name."""
    (folder / "secret").write_bytes(SECRET)
    with h5py.File(folder / "secret.h5", "w") as file:
        file["labels"] = [SECRET[:27]] * ROWS
        file["vectors"] = np.frombuffer(SECRET[: ROWS * DIM * 2], "f2").reshape(ROWS, DIM)
    good = embeddings().to_h5(folder / "good.h5")
    files = {}
    for number, (name, attack) in enumerate(ATTACKS.items()):
        files[name] = folder / f"{number:03d}.h5"
        shutil.copy(good, files[name])
        with h5py.File(files[name], "a", libver=("v110", "v110")) as file:
            attack(file, folder)
        if patch := vars(attack).get("patch") if hasattr(attack, "__dict__") else None:
            offset, width, rows = patch
            data = bytearray(files[name].read_bytes())
            data[offset : offset + width * rows] = data[offset : offset + width] * rows
            files[name].write_bytes(data)
    return files | damaged(folder, good.read_bytes())


def damaged(folder, data):
    rng = np.random.default_rng(0)
    contents = {
        "random bytes": rng.bytes(5000),
        "a signature and random bytes": data[:8] + rng.bytes(5000),
        "empty": b"",
        "a user block": bytes(512) + data,
        **{f"truncated to {part}/8": data[: len(data) * part // 8] for part in range(1, 8)},
    }
    for name, content in contents.items():
        (folder / f"{name.replace('/', ' of ')}.h5").write_bytes(content)
    return {name: folder / f"{name.replace('/', ' of ')}.h5" for name in contents}


# Opens every file of a list and says what came of it and how much memory that took.
CHILD = """
import json, re, sys
from fc7.cache import Embeddings
from fc7.errors import DataError
found = {}
for name, path in json.load(sys.stdin).items():
    try:
        found[name] = ["opened", repr(Embeddings.from_h5(path))]
    except DataError as error:
        found[name] = ["refused", str(error)]
    except BaseException as error:
        found[name] = ["escaped", repr(error)]
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())  # ru_maxrss begins with the parent's
print(json.dumps({"found": found, "peak": int(peak[1]) * 1024}))
"""


def child(code, text="", **environment):
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=text,
        capture_output=True,
        text=True,
        timeout=250,
        env=os.environ | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return build(tmp_path_factory.mktemp("hostile"))


@pytest.mark.timeout(300)
def test_hostile_files_are_all_refused(files, figure):
    out, err = child(CHILD, json.dumps({name: str(path) for name, path in files.items()}))
    reply = json.loads(out)
    outcomes = {name: what for name, (what, _) in reply["found"].items()}
    assert outcomes == dict.fromkeys(files, "refused"), {
        name: found for name, found in reply["found"].items() if found[0] != "refused"
    }
    for name, (_, message) in reply["found"].items():
        assert files[name].name in message
        assert "\n" not in message
    assert "the-secret" not in out + err
    assert reply["peak"] < RSS_LIMIT
    figure(
        "Hostile .h5 files",
        f"{len(files)} files: other files' bytes, bombs, links, filters, types, damage",
        f"{len(files)} refused, 0 bytes of other files, peak {reply['peak'] / 1e6:.0f} MB of {RSS_LIMIT / 1e6:.0f}",
    )


def test_twin_the_good_file_is_read(tmp_path):
    """What the attacks start from is accepted, also chunked and packed as other tools do it."""
    path = embeddings().to_h5(tmp_path / "good.h5")
    assert len(Embeddings.from_h5(path)) == ROWS
    numbers = ("embeddings", "sha256")
    for names, options in (
        (numbers, {"compression": "gzip", "shuffle": True, "fletcher32": True}),
        (numbers, {"compression": "lzf"}),
        (("labels", "paths"), {"chunks": True}),
        (("labels", "paths"), {"compression": "gzip"}),
    ):
        with h5py.File(path, "a") as file:
            for name in names:
                data = file[name][:]
                dtype = file[name].dtype
                del file[name]
                file.create_dataset(name, data=data, dtype=dtype, **options)
        np.testing.assert_array_equal(Embeddings.from_h5(path).vectors, embeddings().vectors)
        assert Embeddings.from_h5(path).labels.tolist() == ["bee", "ant", "bee"]


def test_twin_the_attacks_work_on_a_plain_reader(files):
    """Without the strict opener the secret comes out and the bombs go off."""
    with h5py.File(files["external storage, labels"]) as file:
        assert SECRET[:9] in file["labels"][:].tolist()
    with h5py.File(files["external link"]) as file:
        assert b"the-secret" in file["labels"][0]
    with h5py.File(files["virtual dataset"]) as file:
        assert file["embeddings"][:].tobytes() == SECRET[: ROWS * DIM * 2]
    assert files["chunk bomb"].stat().st_size < 2**21
    with h5py.File(files["chunk bomb"]) as file:
        assert file["embeddings"].nbytes > 8 * MAX_CHUNK_BYTES
    with h5py.File(files["strings, one for all"]) as file:
        assert len(file["labels"][3999]) == 2**20


@pytest.mark.timeout(300)
def test_random_damage_is_refused_or_harmless(tmp_path, size, figure):
    """Flipped bits: refused, or read to the end; nothing else, and no crash of the parser."""
    data = embeddings().to_h5(tmp_path / "good.h5").read_bytes()
    rng = np.random.default_rng(7)
    flips, refused = size(200, 20_000), 0
    path = tmp_path / "flipped.h5"
    for _ in range(flips):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[place] ^= 1 << rng.integers(8)
        path.write_bytes(changed)
        try:
            assert len(Embeddings.from_h5(path)) == ROWS
        except DataError:
            refused += 1
    figure("Damaged .h5 files", f"{flips} files with 1 to 3 bits flipped", f"{refused} refused, 0 crashes")


PLUGIN = """
#include <fcntl.h>
#include <stdlib.h>
__attribute__((constructor)) static void run(void) { open(getenv("MARKER"), O_CREAT | O_WRONLY, 0600); }
"""
ASK = "from fc7.cache.hdf5 import h5py\nprint(h5py.h5z.filter_avail(32015))"


def test_a_hostile_plugin_path_loads_nothing(tmp_path, figure):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make the plugin with")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugin.c").write_text(PLUGIN)
    library = tmp_path / "plugins" / "libH5Zevil.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "plugin.c"], check=True)
    marker = tmp_path / "marker"
    environment = {"HDF5_PLUGIN_PATH": str(library.parent), "MARKER": str(marker)}
    out, _ = child(ASK, **environment)
    assert out.split() == ["False"]
    assert not marker.exists()
    child(ASK, **environment, HDF5_PLUGIN_PRELOAD="")
    assert marker.exists(), "the twin: without the precaution the plugin is loaded"
    figure("A hostile HDF5_PLUGIN_PATH", "a filter of its library is asked for", "0 libraries loaded")
