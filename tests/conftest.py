"""Fixtures: pictures to embed, a cache or a bucket to keep them in, and what may lie beside the checkout."""

import gc
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from unittest import mock

import pytest
from command_line import SQUEEZENET, draw_split
from fakes import FakeBackbone, draw
from hypothesis import HealthCheck, settings
from PIL import Image
from stores import BUCKET, Server, environment

from fc7.cli import main

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# No example has a time limit: how long one takes is the machine's business. A test that needs more of them says so.
# The examples are the same in each run, so a change is judged by itself. `--hypothesis-profile random` looks for more.
COMMON = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("random", COMMON)
settings.register_profile("fc7", COMMON, derandomize=True, database=None)
settings.load_profile("fc7")

# A shell has commands in the background ignore Ctrl-C, and so would the commands that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


# What is imported and collected stays to the end: the garbage collector would look through it again and again, for half
# a second each time.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items):
    """Begin with what waits for processes of Ray, then with long files: at the end a core would be idle beside them."""

    def begins(item):
        ray = item.path.name.startswith(("test_12_", "test_ray_"))
        return not ray, item.path.parent not in (ROOT / "tests", ROOT / "tests" / "faults")

    items.sort(key=begins)
    without = sys.modules.get("sitecustomize")
    for call in getattr(without, "GONE", ()):
        for part, reason in without.NOT_PROMISED.get(call, {}).items():
            for item in items:
                if part in item.nodeid:
                    item.add_marker(pytest.mark.skip(f"not promised without {call}: {reason}"))
                    for other in without.CALLS:  # it would ask for them
                        without.note(other, item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that itself needs what this system lacks, and say what that is."""
    try:
        return (yield)
    except AttributeError as error:
        if not any(error.obj is module for module in (os, signal)) or hasattr(error.obj, error.name or ""):
            raise
        pytest.skip(f"this system has no {error.obj.__name__}.{error.name}")
    except OSError as error:
        if getattr(error, "winerror", None) != 1314:
            raise
        pytest.skip("this user of Windows may not make links")


@pytest.fixture(autouse=True)
def fresh_log():
    """Let no command line that another test or a fixture has run decide where fc7 logs."""
    logger = logging.getLogger("fc7")
    logger.handlers, logger.propagate = [], True
    logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def fresh_environment():
    """Take back what a test, or a command line that it runs, writes into the environment: --allow-redirects does."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="session", autouse=True)
def no_power_fails():
    """Let no test wait for the disk: what one keeps is decided by tests/powerloss.py, and whole processes do sync."""
    with mock.patch.object(os, "fsync", os.fstat):  # which refuses the same descriptors
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Problems this small are slower on several threads, many times so while the machine is busy."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield


@pytest.fixture
def semaphores():
    """Skip where processes cannot share semaphores, because /dev/shm is missing or may not be written."""
    try:
        multiprocessing.Lock()
    except OSError as error:
        pytest.skip(f"this system has no semaphores: {error.strerror}")


@pytest.fixture
def fake():
    return FakeBackbone()


@pytest.fixture
def pictures(tmp_path):
    """Ten pictures of two classes, train and val: reds and blues."""
    root = tmp_path / "pictures"
    for number in range(10):
        split = "train" if number < 6 else "val"
        label = "red" if number % 2 else "blue"
        shade = 120 + 10 * number
        colour = (shade, 0, 0) if label == "red" else (0, 0, shade)
        draw(root / split / label / f"{number}.png", colour)
    return root


@pytest.fixture(autouse=True)
def cache_dir(tmp_path, monkeypatch):
    """Where the default cache is during a test: never the user's."""
    monkeypatch.setenv("FC7_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def hymenoptera():
    folder = SHARED / "data" / "hymenoptera_data"
    if not folder.is_dir():
        pytest.skip("the ants and bees are not beside the checkout (../shared/data/hymenoptera_data)")
    return folder


@pytest.fixture
def vgg16_conv_stack():
    path = SHARED / "weights" / "vgg16-features-imagenet-fp16.safetensors"
    if not path.is_file():
        pytest.skip("the VGG16 conv stack is not beside the checkout (../shared/weights)")
    return path


@pytest.fixture
def fc7(capsys):
    """Run the command line in this process: exit code, stdout, stderr."""

    def run(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stopped:
            code = stopped.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def log(caplog):
    """What fc7 logs."""
    caplog.set_level(logging.INFO, "fc7")
    return caplog


@pytest.fixture
def fc7_json(fc7):
    """Run the command line with --json and return its one object."""

    def run(*words, code=0):
        exit_code, out, err = fc7(*words, "--json")
        assert exit_code == code, err
        answer = json.loads(out)  # raises if there is anything beside one object
        answer.pop("options", None)  # of every verb: tests of the project file look at them
        return answer

    return run


# Tests of verbs


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    """A folder with pictures, a copy and a gif among them, and with the cache that tests of verbs fill together."""
    root = tmp_path_factory.mktemp("verbs")
    data = draw_split(root / "data")
    shutil.copy(data / "train" / "red" / "00.png", data / "train" / "red" / "copy.png")
    Image.new("L", (8, 8)).save(data / "train" / "red" / "imageNotFound.gif")
    return root


@pytest.fixture
def data(shared_home):
    """DATA for a verb: 24 pictures of two colours, a copy of one, and a gif."""
    return str(shared_home / "data")


@pytest.fixture(scope="session")
def clean(shared_home):
    """The same pictures without the copy and the gif: nothing to warn about."""
    return str(draw_split(shared_home / "clean"))


@pytest.fixture
def shared_cache(shared_home, tmp_path, monkeypatch):
    """The cache that tests of verbs fill together; no weights on the machine, no network."""
    monkeypatch.setenv("FC7_CACHE", str(shared_home / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def offline(*given, **options):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)


@pytest.fixture(scope="module")
def moto():
    for package in ("fsspec", "s3fs", "moto", "flask"):
        pytest.importorskip(package, reason="needs the extra fc7[remote], and moto[server]")
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def s3(moto, monkeypatch, tmp_path):
    """The server with an empty bucket, and the environment of somebody who may use it."""
    from fc7.cache.urls import filesystem, store_of

    environment(monkeypatch, tmp_path, moto.endpoint)
    filesystem.cache_clear()
    moto.answer = lambda method, path: None
    store = store_of(f"s3://{BUCKET}")
    store.clear_instance_cache()
    filesystem.cache_clear()
    store = store_of(f"s3://{BUCKET}")
    if store.exists(BUCKET):
        store.rm(BUCKET, recursive=True)
    store.mkdir(BUCKET)
    moto.store = store
    moto.forget()
    yield moto
    moto.answer = lambda method, path: None
    filesystem.cache_clear()


@pytest.fixture
def forwards(monkeypatch):
    """Count the batches that a network sees, by their sizes."""
    from fc7.extract import Backbone

    batches, forward = [], Backbone.forward

    def counted(self, batch):
        batches.append(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(Backbone, "forward", counted)
    return batches


@pytest.fixture(scope="session")
def bundle(shared_home):
    """A fitted bundle, made by the command line."""
    path = shared_home / "colours.fc7"
    words = ["fit", shared_home / "data", "-o", path, "--head", "ridge", *SQUEEZENET, "--quiet"]
    assert main([str(word) for word in [*words, "--cache", shared_home / "cache"]]) == 0
    return path


@pytest.fixture(scope="module")
def engine(request):
    """One cluster for all tests of a module: two cores, this machine only."""
    import ray

    from fc7.errors import EngineError
    from fc7.extract import RayEngine

    ray.cloudpickle.register_pickle_by_value(request.module)  # its workers are not importable there
    with RayEngine(stall=60) as engine:
        for left in range(4, -1, -1):
            try:
                engine.ray  # noqa: B018 - it starts now
                break
            except EngineError as error:  # Ray waits half a minute for a node, which a loaded machine exceeds
                if not left or "timed out" not in str(error):
                    raise
        yield engine
    assert not ray.is_initialized()
