"""Bundles to export, and a folder in which nothing may change."""

import pytest


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    from exported import Home

    return Home(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Let torchvision make the small networks, but not for the modules that come after on the same worker."""
    from exported import Home

    with Home.registered():
        yield


@pytest.fixture
def cache(home):
    return {"cache": home.cache}


@pytest.fixture
def nothing(tmp_path):
    """Check that what was there stays, and nothing comes beside it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "net.onnx").write_bytes(b"before")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["net.onnx"]
    assert (folder / "net.onnx").read_bytes() == b"before"
