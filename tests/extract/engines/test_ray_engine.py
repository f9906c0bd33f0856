"""Ray: same keys and same bits as in this process, wherever the workers are and whatever they can reach."""

import contextlib
import hashlib
import importlib
import logging
import os
import pickle
import platform
import re
import subprocess
import sys
import types
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fakes import draw, one_line
from stores import BUCKET, upload
from waiting import until

from fc7 import __version__
from fc7.cache import Store
from fc7.cache.leases import owner_of
from fc7.cache.processes import Process
from fc7.cache.shard import Shard, encode
from fc7.errors import CorruptShard, EngineError, FC7Error, Interrupted, MissingExtra, UsageError
from fc7.extract import RayEngine, fill, load_backbone, read_manifest
from fc7.extract.backbones.spec import BackboneSpec
from fc7.extract.engines import ray_engine, ray_pipeline, ray_worker
from fc7.extract.engines.accounting import Clock
from fc7.extract.engines.ray_pipeline import RayPipeline
from fc7.extract.engines.ray_worker import Ready, RemoteWorker, Status, Worker, WorkerLost, WorkerSpec
from fc7.extract.engines.unit_loop import Plan

try:
    ray = ray_engine.require_ray()  # first of all: some of its settings Ray reads when it is imported
except MissingExtra as absent:
    pytest.skip(str(absent), allow_module_level=True)

# Ray 2.52 leaves files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SETTINGS = dict(weights="random:0", image_size=(64, 72), batch_size=4, device="cpu")


@pytest.fixture
def hired(engine, monkeypatch):
    """Let the workers be of another kind, and only one."""

    def hire(worker):
        monkeypatch.setattr(engine, "worker", worker)
        monkeypatch.setattr(engine, "actors", 1)
        return engine

    return hire


class Failed(Exception):
    """What Ray makes of an error in a worker."""

    def __init__(self, cause):
        super().__init__(str(cause))
        self.cause = cause


class Actor:
    """A worker in a thread of this process; what is sent to and fro is pickled, as Ray does it."""

    def __init__(self, worker, spec):
        self._thread = ThreadPoolExecutor(1)
        self._worker = self._thread.submit(lambda: worker(pickle.loads(spec)))

    def __getattr__(self, name):
        return types.SimpleNamespace(remote=lambda *given: self._thread.submit(self._call, name, pickle.dumps(given)))

    def _call(self, name, given):
        try:
            return pickle.dumps(getattr(self._worker.result(), name)(*pickle.loads(given)))
        except Exception as error:
            raise Failed(pickle.loads(pickle.dumps(error))) from None


class Threads:
    """Ray as far as workers go, without its processes, each of which would import torch."""

    exceptions = types.SimpleNamespace(RayError=Failed, RayTaskError=Failed)

    def cluster_resources(self):
        return {"CPU": 2.0}

    def remote(self, worker):
        return types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=partial(Actor, worker)))

    def put(self, thing):
        return pickle.dumps(thing)

    def get(self, answer):
        return pickle.loads(answer.result())

    def wait(self, answers, num_returns, timeout):
        done, others = futures.wait(answers, timeout, futures.FIRST_COMPLETED)
        return list(done), list(others)

    def kill(self, actor):
        """Leave it: its thread has nothing more to do."""


@pytest.fixture
def threaded(monkeypatch):
    """Let the workers be of another kind, one at a time, in this process: the pipeline is the same."""
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(ray_engine, "connected", lambda address: contextlib.nullcontext(Threads()))

    def hire(worker):
        engine = RayEngine("in threads", actors=1)
        engine.worker = worker
        return engine

    yield hire
    torch.set_num_threads(before)


@pytest.fixture
def folder(pictures):
    """The ten pictures, a copy and what is no picture."""
    red = pictures / "train" / "red"
    (red / "copy.png").write_bytes((red / "1.png").read_bytes())
    (red / "text.png").write_text("hello")
    for number in range(11):
        draw(red / f"more{number}.png", (number * 20, 90, 10), (70, 80))
    return read_manifest(pictures)


def squeezenet(layer="gap", **options):
    return load_backbone("squeezenet1_1", layer, **(SETTINGS | options))


def ones_own():
    """Return a backbone that no name leads to: its module is sent along."""
    import torch

    from fc7.cache.recipe import Transform
    from fc7.extract import Backbone

    generator = torch.Generator().manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(180, 7))
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return Backbone(module, Transform(resize=8, crop=8), name="mine", batch_size=4, device="cpu")


def shards(cache):
    return sorted(path.relative_to(cache) for path in cache.glob("recipes/*/shards/*/*.h5"))


def held(cache, backbone):
    """Return keys, rows and rejects of a cache, and how many rows are there twice."""
    store = Store(backbone.recipes[0], cache)
    keys = sorted({key for entry in store.entries.values() for key in entry.keys})
    twice = sum(len(entry.keys) for entry in store.entries.values()) - len(keys)
    return keys, store.rows(keys), store.rejected, twice


def assert_same(one, other, backbone):
    (keys, rows, rejected, twice), (keys2, rows2, rejected2, twice2) = held(one, backbone), held(other, backbone)
    assert (keys, rejected, 0) == (keys2, rejected2, twice2)
    assert twice == 0
    np.testing.assert_array_equal(rows, rows2)


def test_same_units_same_keys_same_bits(folder, tmp_path, engine, caplog):
    caplog.set_level(logging.DEBUG, "fc7")
    backbones = [squeezenet(["gap", "logits"]), squeezenet("gmp", views=1, dtype="float32"), ones_own()]
    local = fill(folder, backbones, cache=tmp_path / "local", unit_rows=8)
    seen = []
    done = fill(
        folder, backbones, cache=tmp_path / "ray", unit_rows=8, engine=engine, progress=lambda *one: seen.append(one)
    )
    assert [one.to_dict() | {"seconds": 0, "images_per_second": 0, "stages": 0} for one in done] == [
        one.to_dict() | {"seconds": 0, "images_per_second": 0, "stages": 0} for one in local
    ]
    assert (done[0].seen, done[0].ok, done[0].duplicate, done[0].rejected) == (23, 21, 1, 1)
    assert shards(tmp_path / "ray") == shards(tmp_path / "local")
    assert len(shards(tmp_path / "ray")) == 5 * 3
    for backbone in backbones:
        assert_same(tmp_path / "ray", tmp_path / "local", backbone)
    assert seen.pop(0) == ("hash", 23, 23)
    assert seen[0] == ("extract squeezenet1_1 + mine", 0, 22)
    assert seen[-1] == ("extract squeezenet1_1 + mine", 22, 22)
    assert [number for _, number, _ in seen] == sorted(number for _, number, _ in seen)
    spent = done[0].seconds
    assert min(spent["load"], spent["decode"], spent["forward"], spent["commit"]) > 0
    assert sum(spent[stage] for stage in ("load", "hash")) < spent["total"]
    assert "commits=True, sees_images=True" in caplog.text
    left = [path for path in tmp_path.glob("ray/**/*") if path.parent.name in ("claims", "tmp")]
    assert left == [], "no claim and no probe stays"


class Distant(Worker):
    """A worker that reaches neither the cache nor the images."""

    def __init__(self, spec):
        super().__init__(spec._replace(cache="/nowhere", probe="/nowhere/probe", sample="/nowhere/image"))


class Far(Distant):
    """Such a worker, whose first shard is damaged on its way."""

    sent = 0

    def _run(self, *unit):
        report = super()._run(*unit)
        self.sent += 1
        ((shard,),) = [sink.shards for sink in report.sinks]
        if self.sent == 1:
            report.sinks[0].shards = [shard[:-1] + bytes([shard[-1] ^ 1])]
        return report


def test_what_is_missing_comes_back_from_where_storage_is_not_shared(folder, tmp_path, hired, monkeypatch):
    backbone, cache = squeezenet(), tmp_path / "ray"
    fill(folder, [backbone], cache=tmp_path / "local", unit_rows=8)
    first = [image for image in folder.images if "more" in image.path][:8]
    fill(replace(folder, images=first), [backbone], cache=cache, unit_rows=4)
    gone, missing = Path(next(file for file in folder.files if file.endswith("val/red/7.png"))), Store.missing
    saved = gone.read_bytes()

    def then_gone(self, keys):
        gone.unlink(missing_ok=True)
        return missing(self, keys)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "missing", then_gone)
        done = fill(folder, [backbone], cache=cache, unit_rows=8, engine=hired(Far))[0]
    assert (done.seen, done.reused, done.computed, done.duplicate, done.rejected) == (23, 8, 12, 1, 2)
    assert ("val/red/7.png", "not readable: No such file or directory") in done.rejects
    gone.write_bytes(saved)
    assert fill(folder, [backbone], cache=cache)[0].computed == 1
    assert_same(cache, tmp_path / "local", backbone)
    monkeypatch.setattr(ray_engine, "connected", lambda address: pytest.fail("a cluster was started"))
    assert fill(folder, [backbone], cache=cache, engine=RayEngine())[0].computed == 0


def test_an_interrupt_keeps_the_finished_units(folder, tmp_path, threaded):
    def interrupt(stage, done, total):
        if stage != "hash" and done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match=r"Interrupted: (8|12|16) of 22 images are computed and kept\. The same"):
        fill(
            folder, [squeezenet()], cache=tmp_path / "cache", unit_rows=4, engine=threaded(Distant), progress=interrupt
        )
    kept = len(held(tmp_path / "cache", squeezenet())[0])
    assert 7 <= kept < 21
    assert list((tmp_path / "cache" / "claims").iterdir()) == []
    assert fill(folder, [squeezenet()], cache=tmp_path / "cache", unit_rows=4)[0].reused == kept


class Older(Worker):
    def __init__(self, spec):
        super().__init__(spec._replace(version="0.0.1"))


class WithoutExtra(Worker):
    def _prepare(self):
        raise MissingExtra("timm", "timm")


class Broken(Worker):
    def _prepare(self):
        raise RuntimeError("no room on the device")


@pytest.mark.parametrize(
    ("worker", "error", "said"),
    [
        (Older, EngineError, r"has fc7 .*, this machine 0.0.1"),
        (WithoutExtra, MissingExtra, r"timm is not installed\. Install it with: pip install 'fc7\[timm\]'"),
    ],
)
def test_a_worker_that_cannot_start_says_why(folder, tmp_path, hired, worker, error, said):
    with pytest.raises(error, match=said):
        fill(folder, [squeezenet()], cache=tmp_path / "cache", engine=hired(worker))
    assert shards(tmp_path / "cache") == []


def test_workers_that_are_lost_one_after_the_other_end_the_run(folder, tmp_path, threaded, monkeypatch):
    monkeypatch.setattr(ray_pipeline, "LOSSES", 1)
    said = r"3 workers were lost one after the other, .* RuntimeError: no room on the device\."
    with pytest.raises(EngineError, match=said):
        fill(folder, [squeezenet()], cache=tmp_path / "cache", engine=threaded(Broken))
    assert shards(tmp_path / "cache") == []


def test_a_type_that_cannot_hold_the_rows_ends_the_run_in_one_line(folder, tmp_path, threaded, caplog):
    backbone = load_backbone("mobilenet_v3_small", **SETTINGS)
    with pytest.raises(FC7Error, match=r"^float16 cannot hold mobilenet_v3_small .* Extract with dtype float32\.$"):
        fill(folder, [backbone], cache=tmp_path / "cache", engine=threaded(Distant))
    assert not shards(tmp_path / "cache")
    assert "is lost" not in caplog.text, "no worker is replaced for it"


@pytest.mark.parametrize("worker", [Worker, Distant])
def test_rejected_images_are_looked_at_again(folder, tmp_path, threaded, worker):
    backbone = squeezenet()
    paths = ["train/red/1.png", "train/red/text.png"]
    keys = [hashlib.sha256((folder.root / path).read_bytes()).digest() for path in paths]
    store = Store(backbone.recipes[0], tmp_path / "cache")
    for rejected in (keys[:1], keys):
        store.append(Shard([], np.empty((0, 512), np.float16), dict.fromkeys(rejected, "damaged: MemoryError")))
    assert fill(folder, [backbone], cache=tmp_path / "cache")[0].rejected_before == 2
    done = fill(folder, [backbone], cache=tmp_path / "cache", engine=threaded(worker), retry_rejected=True)[0]
    assert (done.retried, done.computed, done.ok, done.rejected) == (2, 1, 21, 1)
    assert fill(folder, [backbone], cache=tmp_path / "cache")[0].ok == 21
    fill(folder, [backbone], cache=tmp_path / "local")
    np.testing.assert_array_equal(*(held(tmp_path / cache, backbone)[1] for cache in ("cache", "local")))


@pytest.fixture
def spec(tmp_path):
    """Make a worker's spec; what the worker changes in this process is put back."""
    import torch

    threads, logger = torch.get_num_threads(), logging.getLogger("fc7")
    handlers = list(logger.handlers)
    yield WorkerSpec(
        version=__version__,
        torch=torch.__version__,
        backbones=(BackboneSpec.of(squeezenet()),),
        cache=str(tmp_path),
        probe="",
        sample="",
        key=b"",
        loading=1,
        threads=1,
        workers=1,
    )
    torch.set_num_threads(threads)
    logger.handlers[:] = handlers


def test_another_torch_that_makes_other_random_weights_is_found_out(spec):
    worker = Worker(spec._replace(backbones=(spec.backbones[0]._replace(source="random:1"),)))
    with pytest.raises(
        EngineError, match=r"another squeezenet1_1 gap than this machine: weights \w+ here and \w+ there"
    ):
        until(lambda: worker.status().result)


def test_another_torch_is_warned_of(spec):
    worker, warnings = Worker(spec._replace(torch="1.0")), []

    def ready():
        status = worker.status()
        warnings.extend(status.warnings)
        return status.result

    assert until(ready) == Ready(platform.node(), commits=False, sees_images=False)
    (said,) = warnings
    assert said.endswith(f"has torch {spec.torch}, this machine 1.0: last digits may differ.")


class Clumsy(Worker):
    """Fails at one unit, always."""

    def _run(self, keys, *others):
        if min(keys)[0] > 128:
            raise RuntimeError("out of memory on the device")
        return super()._run(keys, *others)


def test_a_unit_that_fails_three_times_ends_the_run_and_the_others_are_kept(folder, tmp_path, threaded):
    with pytest.raises(EngineError, match=r"failed 3 times: RuntimeError: out of memory .* the same command goes on"):
        fill(folder, [squeezenet()], cache=tmp_path / "cache", unit_rows=4, engine=threaded(Clumsy))
    kept = len(held(tmp_path / "cache", squeezenet())[0])
    assert kept >= 4
    done = fill(folder, [squeezenet()], cache=tmp_path / "cache", unit_rows=4)[0]
    assert done.reused == kept
    assert done.ok == 21


@pytest.mark.parametrize(
    ("resources", "options", "takes", "workers", "units"),
    [
        ({"CPU": 4.0}, {}, (1, 0), 4, [252, 252, 252, 244]),
        ({"CPU": 4.0}, {"workers": 2}, (2, 0), 2, [500, 500]),
        ({"CPU": 4.0}, {"unit_rows": 600}, (1, 0), 2, [600, 400]),
        ({"CPU": 4.0, "GPU": 1.0}, {}, (1, 0), 4, [252, 252, 252, 244]),
        ({"CPU": 16.0, "GPU": 2.0}, {"device": "cuda"}, (8, 1), 2, [512, 488]),
        ({"CPU": 64.0, "GPU": 2.0}, {"device": "cuda:1", "batch_size": 100}, (32, 1), 2, [500, 500]),
        ({"CPU": 1.0, "GPU": 2.0}, {"device": "cuda", "actors": 1}, (1, 1), 1, [1000]),
    ],
)
def test_what_workers_take_of_a_cluster(tmp_path, monkeypatch, resources, options, takes, workers, units):
    """A machine without a GPU may send work to those that have some; beside one a thread only decodes, on one core."""
    monkeypatch.setattr("fc7.extract.engines.ray_pipeline.cores_each", lambda: 2 if takes[1] else 1)
    device, batch = options.pop("device", "cpu"), options.pop("batch_size", None)
    backbone = load_backbone("squeezenet1_1", weights="random:0", device=device, batch_size=batch)
    cluster = types.SimpleNamespace(cluster_resources=lambda: resources)
    engine = types.SimpleNamespace(ray=cluster, actors=options.pop("actors", None), stall=None, patience=300.0)
    keys = [bytes([number // 256, number % 256]) * 16 for number in range(1000)]
    stores = [Store(backbone.recipes[0], tmp_path / "cache")]
    job = RayPipeline(engine, Plan([backbone], stores, {}, Clock()), workers=options.pop("workers", None))
    given = []
    idle = types.SimpleNamespace(idle=True, close=lambda: None)
    monkeypatch.setattr(job, "_starter", lambda key: lambda: idle)
    monkeypatch.setattr(job, "compute", lambda units, skipped: given.extend(units))
    monkeypatch.setattr(job, "still_missing", lambda units, skipped: [])
    job.run(keys, options.pop("unit_rows", None))
    assert (job._takes["num_cpus"], job._takes["num_gpus"]) == takes
    assert [len(unit) for unit in given] == units
    assert len(job.remote) == workers
    assert job.patience == 300


def test_a_cluster_without_room_ends_the_run(tmp_path, monkeypatch):
    cluster = types.SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2.0},
        available_resources=lambda: {"CPU": 1.0, "memory": 5.0},
        wait=lambda answers, **options: ([], answers),
    )
    engine = types.SimpleNamespace(ray=cluster, actors=1, stall=None, patience=300.0)
    backbone = squeezenet()
    job = RayPipeline(engine, Plan([backbone], [Store(backbone.recipes[0], tmp_path / "cache")], {}, Clock()))
    absent = types.SimpleNamespace(idle=False, answer="none", status=None, waited=601.0)
    absent.watch, absent.close = lambda patience: None, lambda: None
    monkeypatch.setattr(job, "_starter", lambda key: lambda: absent)
    with pytest.raises(EngineError, match=r"^No worker has started in 601 s; free on the cluster: {'CPU': 1\.0}"):
        job.run([bytes(32)])


def test_a_worker_without_progress_is_lost(monkeypatch):
    said, now = [], [0.0]
    monkeypatch.setattr(ray_worker, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    cluster = types.SimpleNamespace(get=lambda answer: said.pop(), exceptions=ray.exceptions)
    remote = types.SimpleNamespace(remote=lambda *unit: "an answer")
    worker = RemoteWorker(cluster, types.SimpleNamespace(status=remote, run=remote), here=False)

    def later(seconds, progress=None, result=None):
        now[0] += seconds
        if progress is not None:
            said.append(Status(1, 0, progress, (), result))
            worker.collect()
        worker.watch(300)

    later(10**6)  # it waits for a place on the cluster
    later(0, progress=0.0)
    later(599)  # it loads
    with pytest.raises(WorkerLost, match=r"^no progress in 600 s$"):
        later(2, progress=0.0)
    later(0, progress=1.0, result=Ready("here", commits=True, sees_images=True))
    later(10**6)  # there is nothing for it to do
    worker.assign([bytes(32)], ["a.png"], [])
    later(299, progress=2.0)
    later(299, progress=3.0)
    later(299, progress=3.0)
    with pytest.raises(WorkerLost, match=r"^no progress in 300 s$"):
        later(2)


# The cluster


def test_what_a_killed_process_has_left_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_engine, "_LONGEST", len(str(tmp_path)))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name, pid in {"mine": os.getpid(), "ended": ended.pid}.items():
        (tmp_path / f"fc7-ray-{name}").mkdir()
        (tmp_path / f"fc7-ray-{name}" / "owner").symlink_to(Process.mine()._replace(pid=pid, start="").token)
    (tmp_path / "fc7-ray-unknown").mkdir()
    folder = ray_engine._folder()
    assert owner_of(folder / "owner") == Process.mine()
    assert {path.name for path in tmp_path.iterdir()} == {"fc7-ray-mine", "fc7-ray-unknown", folder.name}


def descendants():
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    mine = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= more
    return mine


def listening(pids):
    """Return the addresses, in hex as Linux writes them, on which processes wait for connections."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes |= set(re.findall(r"socket:\[(\d+)\]", str(link.readlink())))
            except OSError:
                continue
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line[1].rpartition(":")[0] for line in lines if line[3] == "0A" and line[9] in inodes]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="Linux's list of sockets")
def test_only_this_machine_reaches_the_cluster_and_only_with_the_token(engine):
    found = listening(descendants())
    assert len(found) >= 4
    assert set(found) <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_a_worker_does_not_import_from_the_working_directory(engine, tmp_path):
    where = ray.remote(lambda: (str(Path.cwd()), sys.path))
    directory, path = ray.get(where.remote())
    assert str(Path.cwd()) not in [directory, *path]


JOIN = """
import sys
from fc7.extract import RayEngine

with RayEngine(sys.argv[1]) as engine:
    print(engine.ray.get(engine.ray.remote(lambda: 6 * 7).remote()))
"""


def test_a_cluster_that_is_there_is_joined_and_left_as_it_is(engine):
    """And one with another token is not; that takes Ray 20 seconds to say, so it is asked in the full tests only."""
    words = [sys.executable, "-c", JOIN, ray.get_runtime_context().gcs_address]

    def run(**environment):
        return subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, check=False)

    if os.environ.get("FC7_FAULTS") == "full":
        refused = run(RAY_AUTH_TOKEN="0" * 64)
        assert refused.returncode == 1
        assert "are RAY_AUTH_MODE and RAY_AUTH_TOKEN its own?" in refused.stderr.splitlines()[-1]
    joined = run()
    assert joined.stdout == "42\n", joined.stderr
    assert "without token authentication" not in joined.stderr
    assert ray.get(ray.remote(lambda: 1).remote()) == 1


def test_the_address_and_the_workers_of_an_extraction_are_those_of_the_command(fc7, pictures, monkeypatch):
    given = {}

    @contextlib.contextmanager
    def noted(address, **options):
        given.update(options, address=address)
        yield None

    monkeypatch.setattr("fc7.extract.engines.ray_engine.RayEngine", noted)
    options = "--backbone squeezenet1_1 --weights random:0 --image-size 32:36 --device cpu --engine ray"
    assert fc7("extract", pictures, *options.split(), "--address", "head:6379", "--actors", 3)[0] == 0
    assert given["address"] == "head:6379"
    assert given["actors"] == 3


def test_twice_in_one_process_is_refused(engine, folder, tmp_path):
    with RayEngine() as second, pytest.raises(EngineError, match="in use in this process already"):
        fill(folder, [squeezenet()], cache=tmp_path / "cache", engine=second)
    assert ray.is_initialized(), "the first one is as it was"


class Stub:
    """Ray as far as joining goes."""

    __version__ = "2.60.0"
    exceptions = types.SimpleNamespace(RayError=OSError)

    def __init__(self):
        self.given, self.open = None, False

    def init(self, **given):
        self.given, self.open = given, True

    def is_initialized(self):
        return self.open

    def shutdown(self):
        self.open = False


@pytest.mark.parametrize("error", [Exception("The current node timed out during startup"), ValueError("no room")])
def test_a_cluster_that_does_not_start_is_one_line(monkeypatch, error):
    def init(**options):
        raise error

    ray = types.SimpleNamespace(is_initialized=lambda: False, init=init, shutdown=lambda: None)
    monkeypatch.setattr(ray_engine, "require_ray", lambda address: ray)
    said = rf"^Ray does not start on this machine: .*{error}\. Without it: engine=None$"
    with pytest.raises(EngineError, match=said), ray_engine.connected(None):
        pass


@pytest.mark.parametrize(("mode", "warned"), [("", True), ("disabled", True), ("token", False)])
def test_a_cluster_without_token_authentication_is_warned_of(monkeypatch, caplog, mode, warned):
    stub = Stub()
    monkeypatch.setattr(ray_engine, "require_ray", lambda address: stub)
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with ray_engine.connected("head:6379"):
        assert stub.given["address"] == "head:6379"
        assert "num_cpus" not in stub.given
    assert not stub.open
    assert ("without token authentication" in caplog.text) == warned


@pytest.mark.parametrize("why", [RuntimeError("no raylet"), KeyboardInterrupt()])
def test_a_node_that_does_not_start_leaves_no_processes(monkeypatch, why):
    """Ray's own would live as long as this process does."""
    ended = []

    class Node:
        def __init__(self):
            raise why

        def kill_all_processes(self, **options):
            ended.append(options)

    stub = Stub()
    stub.init = lambda **given: Node()
    monkeypatch.setattr(ray_engine, "require_ray", lambda address: stub)
    with pytest.raises((EngineError, KeyboardInterrupt)), ray_engine.connected(None):
        pytest.fail("it did not start")
    assert ended == [{"check_alive": False, "allow_graceful": False}]
    assert "kill_all_processes" in vars(importlib.import_module("ray._private.node").Node)


def test_addresses_and_versions_that_do_not_do(monkeypatch):
    with (
        pytest.raises(UsageError, match=r"ray://head:10001: .* address auto"),
        ray_engine.connected("ray://head:10001"),
    ):
        pass
    with pytest.raises(UsageError, match="actors 0"):
        RayEngine(actors=0)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", types.SimpleNamespace(__version__="2.51.1"))
        with pytest.raises(MissingExtra, match=r"ray >= 2\.52 \(this is 2\.51\.1\) .*fc7\[ray\]"):
            RayEngine()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingExtra, match=r"ray is not installed.*fc7\[ray\]"):
            RayEngine()


def test_options_of_ray_are_for_ray(fc7, pictures):
    code, out, err = fc7("extract", pictures, "--address", "auto")
    assert (code, out) == (2, "")
    assert "--address is for --engine ray" in one_line(err)


def test_what_ray_says_of_its_workers_is_not_in_the_answer(fc7_json, pictures, monkeypatch):
    @contextlib.contextmanager
    def talking():
        sys.stdout.write("(raylet) A worker died or was killed\n")
        yield None

    monkeypatch.setattr("fc7.extract.engines.ray_engine.RayEngine", talking)
    options = "--backbone squeezenet1_1 --weights random:0 --image-size 32:36 --device cpu --engine ray"
    assert fc7_json("extract", pictures, *options.split())


def test_images_and_cache_in_an_object_store(s3, pictures, tmp_path, threaded):
    from fc7.extract.engines.ray_worker import _has

    url, backbone = upload(s3, pictures, "data"), squeezenet()
    done = fill(read_manifest(url), [backbone], cache=f"s3://{BUCKET}/cache", engine=threaded(Distant))
    assert (done[0].ok, done[0].computed) == (10, 10)
    fill(read_manifest(pictures), [backbone], cache=tmp_path / "local")
    assert_same(f"s3://{BUCKET}/cache", tmp_path / "local", backbone)
    key = hashlib.sha256((pictures / "train/red/1.png").read_bytes()).digest()
    assert _has(f"{url}/train/red/1.png", key), "a worker with the credentials reads by itself"
    assert not _has(f"{url}/train/blue/0.png", key)
    assert not _has(f"{url}/none.png", key)


def test_a_delivered_shard_is_checked(tmp_path):
    from fc7.cache.commit import deliver

    backbone = squeezenet()
    recipe, other = backbone.recipes[0], squeezenet(mirror=True).recipes[0]
    keys = [bytes([number]) * 32 for number in range(3)]
    data = encode(Shard(keys, np.ones((3, 512), np.float16)), recipe)
    cache = tmp_path / "cache"
    store = Store(recipe, cache)
    path = deliver(data, recipe, cache)
    assert deliver(data, recipe, cache) == path, "twice is once"
    store.refresh()
    assert len(store) == 3
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    deliver(data, recipe, cache)
    assert path.read_bytes() == data, "a damaged one in its place is set aside"
    with pytest.raises(CorruptShard):
        deliver(data[:-1] + b"?", recipe, cache)
    with pytest.raises(CorruptShard, match="came for"):
        deliver(data, other, cache)
