"""The verb review as a user has it: started, asked, ended by Ctrl-C."""

import http.client
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from fakes import noisy, one_line
from waiting import LONG, until

from fc7.classify.reviews.lists import Lists
from fc7.classify.reviews.plane import plane
from fc7.classify.reviews.server import Server
from fc7.cli import main
from fc7.extract.manifest.manifest import read_manifest

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'fc7[review]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'fc7[review]'")

BACKBONE = ["--backbone", "squeezenet1_1", "--weights", "random:0", "--batch-size", "4", "--workers", "1"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures of two colours, one of each in the other's folder, and one that is none."""
    root = tmp_path_factory.mktemp("home")
    for place, (label, colour) in enumerate({"blue": (20, 20, 220), "red": (220, 20, 20)}.items()):
        for number in range(8):
            noisy(root / "pictures" / label / f"{number}.png", colour, 100 * place + number)
    (root / "pictures" / "blue" / "0.png").rename(root / "pictures" / "red" / "blue.png")
    (root / "pictures" / "red" / "none.png").write_bytes(b"none")
    main(["extract", str(root / "pictures"), *BACKBONE, "--cache", str(root / "cache"), "--quiet"])
    return root


class Running:
    """A review in a process of its own."""

    def __init__(self, home, *words):
        environment = os.environ | {"FC7_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fc7", "review", *map(str, words), *BACKBONE],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=home, env=environment,
        )  # fmt: skip
        self.said = ""
        while not (match := re.search(r"http://\S+", self.said)):
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        self.address = match[0]
        where = urlsplit(self.address)
        self.path = where.path
        self.connection = http.client.HTTPConnection(where.hostname, where.port, timeout=LONG)

    def ask(self, path, body=None):
        """Ask, on a connection that stays open, as a browser's does."""
        data = None if body is None else json.dumps(body)
        method = "GET" if body is None else "POST"
        self.connection.request(method, self.path + path, data, {"Content-Type": "application/json"})
        reply = self.connection.getresponse()
        content = reply.read()
        assert reply.status == 200, content
        return json.loads(content)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=LONG)
        assert "Traceback" not in self.said + err
        return self.process.returncode, out, err


@pytest.fixture
def run(home):
    running = []

    def start(*words):
        running.append(Running(home, *words))
        return running[-1]

    yield start
    for review in running:
        review.connection.close()
        with review.process:  # which closes its pipes
            review.process.kill()


def test_a_review_from_start_to_the_fit_and_on_again(run, home, fc7, monkeypatch):
    file = home / "pictures-labels.csv"
    review = run("pictures", "--json")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", review.address)
    assert "rejected red/none.png" in review.said
    assert review.ask("state")["changes"] == 0
    (image,) = review.ask("list?name=all&search=red/blue.png")["images"]
    assert review.ask("list?name=suspects")["images"][0] == image
    review.ask("decide", {"images": [image], "label": "blue"})
    (other,) = review.ask("list?name=all&search=red/7.png")["images"]
    review.ask("decide", {"images": [other], "bad": True})
    assert sum(image.bad for image in read_manifest(file, with_bad=True).images) == 1, "written before the answer"
    code, out, err = review.end()
    assert (code, err) == (0, "")
    ended = json.loads(out)
    assert ended["address"] == review.address
    assert (ended["labels"], ended["images"], ended["relabelled"], ended["bad"]) == ("pictures-labels.csv", 16, 1, 1)
    labels = {image.path: image.label for image in read_manifest(file).images}
    assert labels["pictures/red/blue.png"] == "blue"
    assert "pictures/red/7.png" not in labels
    assert "pictures/red/none.png" in labels, "it is rejected anew, with its reason"
    machine = [*BACKBONE, "--cache", home / "cache", "--quiet"]
    code, _, err = fc7("fit", file, "-o", home / "x.fc7", "--head", "ridge", *machine)
    assert code == 0, err

    text = file.read_bytes()

    def go_on(server):
        server._socket.close()
        assert server.review.closed == [other, image]
        assert file.read_bytes() == text
        assert [server.review.undo().image for _ in range(2)] == [other, image]

    monkeypatch.setattr(Server, "run", go_on)
    code, out, err = fc7("review", home / "pictures", "-o", file, *machine)
    assert (code, out) == (0, "Nothing was decided, nothing written.\n")
    assert err.count("\n") == 2, "--quiet: what was rejected, and the address"
    assert not file.exists()


def test_what_is_said_in_the_end(fc7, home, tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "run", lambda self: self._socket.close())
    words = ["review", home / "pictures", *BACKBONE, "--cache", home / "cache", "-o", tmp_path / "my labels.csv"]
    code, out, err = fc7(*words)
    assert (code, out) == (0, "Nothing was decided, nothing written.\n")
    assert "(Ctrl-C ends it)" in err

    monkeypatch.setattr(Server, "run", lambda self: self._socket.close() or self.review.decide(2, bad=True))
    code, out, _ = fc7(*words)
    assert code == 0
    assert out.startswith(f"1 image reviewed, 0 relabelled, 1 bad. Wrote {tmp_path}/my labels.csv.")
    given = shlex.join([*BACKBONE, "--cache", str(home / "cache")])
    fit, again = map(shlex.split, out.splitlines()[1:])
    assert fit[:5] == ["fc7", "fit", f"{tmp_path}/my labels.csv", "--output", "my labels.fc7"]
    assert sorted(fit[5:]) == sorted(shlex.split(given))
    assert sorted(again) == sorted("--output" if word == "-o" else str(word) for word in ["fc7", *words])


def test_what_cannot_be_reviewed_is_said_before_anything_is_computed(fc7, home, tmp_path):
    cache = ["--cache", tmp_path / "cache"]
    (tmp_path / "flat.h5").touch()
    (tmp_path / "theirs.csv").write_text("name,age\nann,4\n")
    (tmp_path / "list.csv").write_text(f"path,label\n{home}/pictures/blue/1.png,blue\n{home}/pictures/red/1.png,red\n")
    for words, code, said in [
        ([tmp_path / "flat.h5"], 2, "no pictures"),
        ([home / "pictures", "-o", tmp_path / "theirs.csv"], 1, "no review of this data set wrote it"),
        ([tmp_path / "list.csv", "-o", tmp_path / "list.csv"], 1, "is both what is reviewed and where labels go"),
        ([home / "pictures", "-o", tmp_path], 1, "it is a folder"),
        ([home / "nothing"], 1, "There is no"),
        ([home / "pictures", "--port", "70000"], 2, "--port"),
    ]:
        exit_code, out, err = fc7("review", *words, *BACKBONE, *cache)
        assert (exit_code, out) == (code, ""), err
        assert said in one_line(err)
    assert not list((tmp_path / "cache").rglob("*.h5"))
    assert (tmp_path / "theirs.csv").read_text() == "name,age\nann,4\n"


def test_what_is_labelled_from_nothing_is_a_data_set_whenever_one_stops(fc7, home, tmp_path, monkeypatch):
    for number, colour in enumerate([(20, 20, 220), (220, 20, 20)] * 6):
        noisy(tmp_path / "pool" / f"{number}.png", colour, 500 + number)

    def label(server):
        server._socket.close()
        review = server.review
        for _ in range(10):  # six of each colour: at least four of each are among them
            image = int(review.to_label()[0])
            (path,) = review.paths[image]
            review.decide([image], "red" if int(path.removesuffix(".png")) % 2 else "blue", new=True)
        assert len(review.like(image, 5)) == 2, "those that are left"
        assert [point.judged for point in review.curve] == sorted(point.judged for point in review.curve)

    monkeypatch.setattr(Server, "run", label)
    machine = [*BACKBONE, "--cache", home / "cache", "--quiet"]
    file = tmp_path / "pool-labels.csv"
    code, out, err = fc7("review", tmp_path / "pool", "-o", file, *machine)
    assert (code, "10 images reviewed" in out, "2 have no label" in out) == (0, True, True), err
    code, _, err = fc7("fit", file, "-o", tmp_path / "pool.fc7", "--head", "ridge", "--folds", "2", *machine)
    assert code == 0, err
    code, out, err = fc7("audit", file, "--folds", "2", "--json", *machine)
    assert (code, json.loads(out)["unlabelled"]) == (0, 2), err


@pytest.mark.parametrize("count", [1, 2])
def test_of_few_images_each_list_can_be_opened(fc7, home, tmp_path, monkeypatch, count):
    for number in range(count):
        noisy(tmp_path / "few" / f"{number}.png", (20, 20, 220), 700 + number)

    def look(server, findings):
        server._socket.close()
        lists = Lists(server.review, findings)
        until(lambda: lists.images("outliers") is not None)
        assert lists.images("outliers") == lists.images("near_duplicates") == []
        assert sorted(lists.images("unlabelled")) == lists.images("all") == list(range(count))
        assert server.review.like(0, 5).tolist() == list(range(1, count))
        assert plane(server.review)["images"] == list(range(count))

    class Looked(Server):
        def __init__(self, review, images, *, port, findings):
            super().__init__(review, images, port=port, findings=findings)
            self.run = lambda: look(self, findings)

    monkeypatch.setattr("fc7.classify.reviews.server.Server", Looked)
    code, _, err = fc7("review", tmp_path / "few", "-o", tmp_path / "l.csv", *BACKBONE, "--cache", home / "cache")
    assert code == 0, err
