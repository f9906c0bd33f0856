"""The server of a review over a real socket: who is let in, what is answered, and that nothing else is."""

import asyncio
import csv
import http.client
import io
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from waiting import LONG

from fc7.errors import MissingExtra, UsageError

pytest.importorskip("starlette", reason="starlette is not installed: pip install 'fc7[review]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install 'fc7[review]'")

from fc7.classify.reviews.guard import Guard

JSON = {"Content-Type": "application/json"}


def asking(desk):
    """Return what sends a request to a review: status, headers, and the body, which is JSON but for pages, pictures."""

    def request(path="", method="GET", body=None, headers=(), whole=None, host=None):
        where = urlsplit(desk.server.address)
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=LONG)
        try:
            connection.putrequest(method, where.path + path if whole is None else whole, skip_host=host is not None)
            if host is not None:
                connection.putheader("Host", host)
            data = json.dumps(body).encode() if isinstance(body, dict) else body
            for name, value in dict(headers or (JSON if data is not None else {})).items():
                connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            reply = connection.getresponse()
            found = reply.read()
            kind = reply.getheader("content-type").partition(";")[0]
            return reply.status, reply.headers, json.loads(found) if kind == "application/json" else found
        finally:
            connection.close()

    return request


@pytest.fixture
def ask(desk):
    """Ask the review that all tests share, and undo what was decided; classes that were typed stay."""
    yield asking(desk)
    while desk.review.changes:
        desk.review.undo()


def refused(answer, status, *words):
    """Check that an answer is JSON with a reason, and no traceback."""
    assert answer[0] == status, answer
    assert list(answer[2]) == ["error"]
    assert "Traceback" not in answer[2]["error"]
    for word in words:
        assert word in answer[2]["error"]


def test_the_page_and_what_it_is_made_of(ask):
    status, headers, page = ask()
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert b"Review of <bdi>pictures</bdi>" in page
    assert b"http" not in page.replace(b"http-equiv", b"")
    scripts = dict.fromkeys(re.findall(r'src="(\w+\.js)"', page.decode()), "text/javascript")
    for name in scripts.copy():
        scripts |= dict.fromkeys(re.findall(rb'from "\./(\w+\.js)"', ask(name)[2]), "text/javascript")
    scripts = {name if isinstance(name, str) else name.decode(): kind for name, kind in scripts.items()}
    assert len(scripts) > 8
    for name, kind in {"page.css": "text/css", "review.css": "text/css", **scripts}.items():
        status, headers, content = ask(name)
        assert (status, headers.get_content_type(), b"http" in content) == (200, kind, False)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not {"http:", "https:", "*", "'unsafe-inline'"} & set(policy.replace(";", " ").split())
    assert (headers["referrer-policy"], headers["x-content-type-options"]) == ("no-referrer", "nosniff")
    assert headers["cache-control"] == "no-store"


def test_suspects_come_first_and_a_decision_is_written(served):
    desk = served()
    ask = asking(desk)
    state = ask("state")[2]
    suspects = ask("list?name=suspects")[2]
    assert set(suspects["images"][:2]) == {3, 20}
    assert (state["classes"], state["images"], state["changes"], state["file"]) == (
        ["c0", "c1"],
        28,
        0,
        "labels.csv",
    )
    assert suspects["subjects"]["3"]["paths"] == ["c0/003.png"]
    status, _, after = ask("decide", "POST", {"images": [3], "label": "c0", "bad": False})
    assert (status, after["changes"], after["counts"]["relabelled"]) == (200, 1, 1)
    assert after["change"]["before"] == {"label": "c1", "bad": False}
    assert after["change"]["after"] == {"label": "c0", "bad": False}
    assert after["agreement"]["right"] == state["agreement"]["right"] + 1
    assert ask("list?name=reviewed")[2]["images"] == [3]
    assert 3 not in ask("list?name=suspects")[2]["images"]
    assert f"pictures/c0/003.png,{desk.review.key(3)},c0,train,,,1" in desk.file.read_text()
    status, _, undone = ask("undo", "POST", {"seen": after["version"]})
    assert (status, undone["change"]["undone"], ask("list?name=suspects")[2]) == (200, True, suspects)
    assert not desk.file.exists()


def test_lists_are_searched_and_filtered(ask, desk):
    def images(query):
        return ask(f"list?{query}")[2]["images"]

    assert images("name=all") == list(range(28))
    assert images("name=all&search=C1%20021") == [21]
    assert images("name=all&search=wasp") == []
    labels = [desk.review.subject(image).decision.label for image in range(28)]
    assert images("name=all&label=c1") == [image for image in range(28) if labels[image] == "c1"]
    assert images("name=all&label=") == images("name=unlabelled") == images("name=outliers") == []
    desk.review.decide([4, 5], "c1")
    assert {4, 5} <= set(images("name=all&label=c1"))
    refused(ask("list?name=wasps"), 400, "There is no list 'wasps'", "near_duplicates")
    assert list(ask("subjects?images=4,7")[2]["subjects"]) == ["4", "7"]
    for query in ("subjects?images=4,x", "subjects", "like?image=28", "like"):
        refused(ask(query), 404, "There is no image")


def test_the_map_has_a_point_for_each_image(ask, desk):
    found = ask("map")[2]
    assert found["images"] == list(range(28))
    assert found["paths"] == [paths[0] for paths in desk.review.paths]
    assert found["classes"] == ["c0", "c1"]


def test_more_like_an_image_are_the_nearest(ask, desk):
    near = ask("like?image=4")[2]["images"]
    assert (near[0], len(near), len(set(near))) == (4, 24, 24)
    vectors = desk.review.vectors.astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors[4]
    assert near[1:] == [image for image in np.argsort(-cosine, kind="stable") if image != 4][:23]


def test_many_images_are_one_decision(ask, desk):
    images = [4, 5, 21, 4]
    status, _, after = ask("decide", "POST", {"images": images, "label": "c1"})
    assert (status, after["changes"], after["change"]["images"]) == (200, 1, [4, 5, 21])
    assert desk.file.read_text().count(",1\n") == 1, "each has a number"
    assert {desk.review.subject(image).decision.label for image in images} == {"c1"}
    assert ask("undo", "POST", {})[2]["change"]["images"] == [4, 5, 21]
    assert not desk.file.exists()


def test_bad_without_a_label_and_back(ask):
    assert ask("decide", "POST", {"images": [5], "label": None, "bad": True})[2]["counts"]["bad"] == 1
    after = ask("decide", "POST", {"images": [5], "label": "c1"})[2]
    assert (after["counts"]["bad"], after["counts"]["relabelled"]) == (0, 1)


def test_pictures_are_made_anew(ask, desk):
    for size, path in (("thumbnails", "c0/003.png"), ("images", "c0/003.png")):
        status, headers, data = ask(f"{size}/3.jpg")
        assert (status, headers.get_content_type()) == (200, "image/jpeg")
        assert headers["content-security-policy"]
        with Image.open(io.BytesIO(data)) as image, Image.open(desk.folder / path) as source:
            assert (image.format, image.size) == ("JPEG", source.size)


@pytest.mark.parametrize("number", ["28", "-1", "x", "1e3", "%00", "99999999999", "1" * 5000, "../3", "..%2f3", "٣"])
def test_no_other_picture_can_be_asked_for(ask, number):
    from urllib.parse import quote

    refused(ask(f"thumbnails/{quote(number, safe='%./')}.jpg"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "review.html.jinja",
        "../review.py",
        "..%2freview.py",
        "%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "labels.csv",
        "c0/003.png",
        "state/",
        "static/page.css",
    ],
)
def test_no_other_file_can_be_asked_for(ask, path):
    refused(ask(path), 404)


def test_a_picture_that_is_no_longer_there_or_another_is_404(ask, desk):
    first, second = desk.folder / "c0/010.png", desk.folder / "c0/011.png"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    try:
        refused(ask("images/10.jpg"), 404, "no longer the image")
        first.unlink()
        refused(ask("images/10.jpg"), 404, "No such file")
    finally:
        first.write_bytes(data)


def test_without_the_token_nothing_is_answered(ask, desk):
    token = urlsplit(desk.server.address).path.strip("/")
    assert len(token) >= 32
    for whole in ("/", "/state", f"/{token[:-1]}/state", f"/{token}x/state", "/x/state", f"/x/{token}/state", "/%ff/"):
        refused(ask(whole=whole), 403, "token")
    other = "y" if token.endswith("x") else "x"
    refused(ask(whole=f"/{token[:-1]}{other}/undo", method="POST", body={}), 403, "token")


def test_another_host_name_is_refused(ask, desk):
    port = desk.server.port
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", "", f"127.0.0.1.evil.example:{port}"):
        answer = ask(host=host)
        assert answer[0] in (400, 403), host
    refused(ask("state", host=f"rebound.example:{port}"), 403, "host name")
    assert ask("state", host=f"localhost:{port}")[0] == 200


def test_another_origin_is_refused(ask, desk):
    body = {"images": [3], "label": "c0"}
    for origin in ("https://evil.example", "null", f"https://127.0.0.1:{desk.server.port}", "http://127.0.0.1"):
        refused(ask("decide", "POST", body, JSON | {"Origin": origin}), 403, "Another page")
    assert desk.review.changes == 0
    assert ask("decide", "POST", body, JSON | {"Origin": f"http://127.0.0.1:{desk.server.port}"})[0] == 200


@pytest.mark.parametrize(("port", "answered"), [(80, {"127.0.0.1", "localhost:80", "LOCALHOST"}), (81, set())])
def test_browsers_leave_out_port_80(port, answered):
    """Of an application that answers everything."""

    async def yes(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    guard = Guard(yes, "token", port)
    for host in ("127.0.0.1", "localhost:80", "LOCALHOST", "evil.example", ""):
        for origin in ("", f"http://{host.lower()}", "http://evil.example", "null"):
            sent = []

            async def send(message, sent=sent):
                sent.append(message)

            headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin else [])
            asyncio.run(guard({"type": "http", "path": "/token/", "headers": headers}, None, send))
            trusted = host in answered and origin in ("", f"http://{host.lower()}")
            assert sent[0]["status"] == (200 if trusted else 403), (host, origin)


def half_sent(desk, text=b"GET / HTTP/1.1\r\nHost:"):
    where = urlsplit(desk.server.address)
    connection = socket.create_connection((where.hostname, where.port), timeout=30)
    connection.sendall(text)
    return connection


def ended(connection):
    """Wait until the server has closed a connection; False after the time that a test has."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_a_request_that_does_not_come_is_not_waited_for(ask, desk, monkeypatch):
    path = urlsplit(desk.server.address).path.encode()
    head = b"POST %sdecide HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % (path, desk.server.port)
    head += b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    monkeypatch.setattr("fc7.classify.reviews.connections.SECONDS", 0.2)
    connections = [half_sent(desk, text) for text in (b"", b"GET / HT", head)]
    assert [ended(connection) for connection in connections] == [True] * 3
    for connection in connections:
        connection.close()
    monkeypatch.undo()
    assert ask("state")[0] == 200
    assert desk.review.changes == 0


def test_a_client_that_does_not_read_its_answers_is_not_waited_for(ask, desk, monkeypatch):
    path = urlsplit(desk.server.address).path.encode()
    request = b"GET %simages/0.jpg HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (path, desk.server.port)
    monkeypatch.setattr("fc7.classify.reviews.connections.SECONDS", 0.2)
    connection = socket.create_connection(("127.0.0.1", desk.server.port), timeout=LONG)
    with connection, pytest.raises(ConnectionError):
        while True:
            connection.sendall(1000 * request)
    assert ask("state")[0] == 200


def test_many_connections_do_not_keep_a_decision_waiting(ask, desk, monkeypatch):
    monkeypatch.setattr("fc7.classify.reviews.connections.MOST", 5)
    connections = [half_sent(desk) for _ in range(30)]
    assert ask("decide", "POST", {"images": [3], "label": "c0"})[0] == 200
    assert [ended(connection) for connection in connections[:24]] == [True] * 24, "the first ones made room"
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_request_is_refused_in_few_words(desk, log, capfd, text):
    for _ in range(3):
        with half_sent(desk, text) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert ended(connection)
    assert "Traceback" not in "".join(capfd.readouterr())
    said = [record.getMessage() for record in log.records if record.name == "fc7"]
    assert len(said) == len(set(said)), "once for each kind"
    assert not any("\n" in line for line in said)


def test_a_decision_that_is_not_durable_is_said(ask, desk, monkeypatch):
    def broken(folder):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("fc7.cache.files.sync_folder", broken)
        status, _, after = ask("decide", "POST", {"images": [3], "label": "c0"})
    assert status == 200
    assert "labels.csv has this decision, but" in after["change"]["warning"]
    assert str(desk.file.parent) not in after["change"]["warning"]
    assert ask("decide", "POST", {"images": [4], "bad": True})[2]["change"]["warning"] == ""


def test_only_this_machine_is_listened_on(desk):
    with socket.socket() as other:
        other.settimeout(2)
        name = socket.gethostbyname(socket.gethostname())
        if name.startswith("127."):
            name = "127.0.0.2"
        with pytest.raises(OSError):
            other.connect((name, desk.server.port))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"[" * 4000, 400),
        (b'{"images": [NaN]}', 400),
        (b"\xff\xfe", 400),
        (b'{"images": [1e400]}', 400),
        ({}, 400),
        ({"images": ["3"], "label": "c0"}, 400),
        ({"images": [True], "label": "c0"}, 400),
        ({"images": [], "label": "c0"}, 400),
        ({"images": 3, "label": "c0"}, 400),
        ({"images": [3.0], "label": "c0"}, 400),
        ({"images": [3], "label": 1}, 400),
        ({"images": [3], "label": ["c0"]}, 400),
        ({"images": [3], "label": "c0", "seen": "0"}, 400),
        ({"images": [3], "label": "c0", "seen": True}, 400),
        ({"label": "c0"}, 400),
        ({"images": [3], "bad": "yes"}, 400),
        ({"images": [3], "label": "c0", "path": "/etc/passwd"}, 400),
        ({"images": [3], "label": "wasp"}, 400),
        ({"images": [3], "label": ""}, 400),
        ({"images": [28], "label": "c0"}, 400),
        ({"images": [-1], "label": "c0"}, 400),
        ({"images": [10**30], "label": "c0"}, 400),
        (b'{"images": [3], "label": "' + b"x" * 3_000_000 + b'"}', 413),
    ],
)
def test_what_is_no_decision_is_refused(ask, desk, body, status):
    refused(ask("decide", "POST", body), status)
    assert desk.review.changes == 0


def test_how_a_decision_is_sent(ask, desk):
    good = json.dumps({"images": [3], "label": "c0"}).encode()
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
    ):
        refused(ask("decide", "POST", good, {"Content-Type": kind}), 415, "application/json")
    for path in ("decide", "undo"):
        refused(ask(path), 405)
    for method in ("POST", "PUT", "DELETE"):
        refused(ask("state", method, b"{}"), 405)
    refused(ask("undo", "POST", {"all": True}), 400)
    refused(ask("undo", "POST", {"seen": 1.5}), 400)
    assert desk.review.changes == 0


def test_what_cannot_be_done_says_why(ask, desk):
    refused(ask("undo", "POST", {}), 409, "Nothing to undo")
    desk.review.decide(3, "c0")
    text = desk.file.read_text()
    desk.file.write_text(text + "\n")
    try:
        refused(ask("decide", "POST", {"images": [4], "bad": True}), 409, "labels.csv was changed by another program")
        assert str(desk.file.parent) not in ask("decide", "POST", {"images": [4], "bad": True})[2]["error"]
    finally:
        desk.file.write_text(text)


def test_what_was_not_foreseen_is_500_without_a_traceback(ask, desk, monkeypatch):
    def fail(seen):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(desk.review, "undo", fail)
    refused(ask("undo", "POST", {}), 500, "should not have happened")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "\"a\", 'b'", "a\nb", "=1+1", "e\u0301", "\u202eabc", "x" * 5000, "bad", "c\td"],
)
def test_a_class_of_any_name_is_the_same_in_the_csv(ask, desk, name):
    status, _, after = ask("decide", "POST", {"images": [4], "label": name, "new": True})
    assert (status, after["change"]["after"]["label"]) == (200, name)
    with desk.file.open(encoding="utf-8", newline="") as file:
        held = {row["sha256"]: row["label"] for row in csv.DictReader(file)}[desk.review.key(4)]
    assert held.removeprefix("'") == name, "what a spreadsheet would calculate has an apostrophe"


@pytest.mark.parametrize("name", ["\x00", "a\0b", " lead", "trail ", "\ud800"])
def test_a_class_that_a_csv_cannot_hold_is_refused(ask, desk, name):
    refused(ask("decide", "POST", {"images": [4], "label": name, "new": True}), 409, "A csv cannot hold")
    assert not desk.file.exists()


def test_what_another_tab_has_decided_is_never_overwritten_unseen(ask, desk):
    """Two tabs have seen the same version; the second learns of the first by what it is told."""
    seen = ask("state")[2]["version"]
    first = ask("decide", "POST", {"images": [4], "label": "c1", "seen": seen})[2]
    assert first["version"] == seen + 1
    other = ask("decide", "POST", {"images": [5], "bad": True, "seen": seen})
    assert other[0] == 200, "another image: both hold"
    text = desk.file.read_text()
    refused(ask("decide", "POST", {"images": [6, 4], "label": "c0", "seen": seen}), 409, "c0/004.png", "Another tab")
    refused(ask("undo", "POST", {"seen": first["version"]}), 409, "Another tab has decided meanwhile")
    assert desk.file.read_text() == text
    again = ask("decide", "POST", {"images": [6, 4], "label": "c0", "seen": other[2]["version"]})
    assert (again[0], again[2]["changes"]) == (200, 3)
    assert ask("undo", "POST", {"seen": again[2]["version"]})[2]["version"] == again[2]["version"] + 1
    refused(ask("decide", "POST", {"images": [4], "label": "c0", "seen": again[2]["version"]}), 409, "Another tab")


def test_decisions_from_many_at_once_are_all_kept(ask, desk):
    images = list(range(4, 14))
    gate = threading.Barrier(len(images))

    def decide(image):
        gate.wait()
        return ask("decide", "POST", {"images": [image], "bad": image % 2 == 0})[0]

    with ThreadPoolExecutor(len(images)) as pool:
        assert set(pool.map(decide, images)) == {200}
    assert set(desk.review.decided) == set(images)
    assert desk.review.changes == len(images)
    assert desk.file.read_text().count(",yes,") == 5


def test_a_port_that_is_taken_or_none_is_said(desk):
    from fc7.classify.reviews.server import Server

    for port in (desk.server.port, 70000):
        with pytest.raises(UsageError, match=f"port {port}: .*any that is free"):
            Server(desk.review, desk.folder, port=port)


@pytest.mark.parametrize("package", ["starlette", "uvicorn", "jinja2"])
def test_the_extra_is_named(monkeypatch, package):
    import sys

    from fc7.classify.reviews.server import require_extra

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package} is not installed.*fc7\[review\]"):
        require_extra()
