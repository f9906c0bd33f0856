"""Web addresses: each fault has its own reason, and nobody's network is looked at through a table."""

import gzip
import ipaddress
import socket
import zlib

import pytest
import web_server
from fakes import FakeBackbone, draw
from hypothesis import given
from hypothesis import strategies as st

from fc7.extract import fill, read_manifest
from fc7.extract.manifest import object_store, web

pytest.importorskip("aiohttp", reason="needs the extra fc7[remote]")

LIMIT = 100_000
ALLOW = "FC7_ALLOW"


@pytest.fixture
def server(monkeypatch):
    """A server on this machine, which may be asked."""
    monkeypatch.setenv(ALLOW, "private-hosts")
    monkeypatch.setattr(web, "PAUSE", 0)
    server = web_server.WebServer()
    yield server
    server.stop()


def read(url, limit=LIMIT):
    parts = []
    try:
        web.read_web(url, limit, parts.append)
    except OSError as error:
        assert sum(map(len, parts)) <= limit + 1
        return error.strerror
    return b"".join(parts)


# What comes


def test_a_body_is_read_to_its_end(server):
    for size in (0, 1, LIMIT):
        assert read(server.at("/a", web_server.page(b"x" * size))) == b"x" * size


def test_a_body_without_a_length_ends_with_the_connection(server):
    assert read(server.at("/a", lambda one: one.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc"))) == b"abc"


@pytest.mark.parametrize("name", [b"gzip", b"deflate", b"x-gzip"])
def test_a_body_that_is_packed_unasked_is_unpacked(server, name):
    data = bytes(range(256)) * 300
    packed = zlib.compress(data) if name == b"deflate" else gzip.compress(data[:999]) + gzip.compress(data[999:])
    assert read(server.at("/a", web_server.page(packed, b"Content-Encoding: " + name))) == data


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web_server.endless, "more than 100000 bytes"),
        (web_server.page(bytes(LIMIT + 1)), "more than 100000 bytes"),
        (web_server.bomb(gzip.compress(bytes(LIMIT + 1))), "more than 100000 bytes"),
        (web_server.bomb(web_server.packed_zeros(2**28)), "more than 100000 bytes"),
        (web_server.bomb(gzip.compress(bytes(50))[:-9]), "the packed body ended early"),
        (web_server.bomb(b"no gzip"), "the server packs it, but not by gzip"),
        (web_server.page(b"x", b"Content-Encoding: br"), "the server packs it unasked, by br"),
        (web_server.page(b"abc", length=10), "the connection ended early"),
        (web_server.half_closed, "the connection ended early"),
        (lambda connection: None, "the connection ended early"),
        (web_server.no_http, "the server does not speak HTTP"),
        (web_server.huge_header, "the server does not speak HTTP"),
        (web_server.many_headers, "the server does not speak HTTP"),
    ],
)
def test_each_fault_of_a_body_has_its_reason(server, answer, reason):
    assert read(server.at("/a", answer)).startswith(reason)


@pytest.mark.parametrize(
    "answer", [web_server.drip, web_server.drip_of_headers, web_server.silent, web_server.flood_of_informations]
)
def test_an_image_has_a_time_limit_as_a_whole(server, monkeypatch, answer):
    monkeypatch.setattr(web, "SECONDS", 0.3)
    assert read(server.at("/a", answer)) == "not answered within 0.3 s"


@pytest.mark.parametrize(
    ("code", "reason", "tries"),
    [
        (401, "the server denies access (401)", 1),
        (403, "the server denies access (403)", 1),
        (404, "there is no such object", 1),
        (410, "there is no such object", 1),
        (418, "no image is sent (418)", 1),
        (429, "the server is asked too often (429)", 3),
        (500, "the server fails (500)", 1),
        (503, "the server fails (503)", 3),
    ],
)
def test_each_status_has_its_reason(server, code, reason, tries):
    assert read(server.at("/a", web_server.status(code))) == reason
    assert server.asked == [("GET", "/a")] * tries


@pytest.mark.parametrize("code", [429, 503])
def test_what_passes_is_waited_for(server, code):
    answers = [web_server.page(b"abc"), web_server.status(code), web_server.status(code)]
    assert read(server.at("/a", lambda connection: answers.pop()(connection))) == b"abc"


def test_hosts_that_are_not_there_have_their_reasons(server, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert read(f"http://127.0.0.1:{port}/a") == "127.0.0.1 refuses connections"
    assert read(server.at("/a", web_server.page(b"")).replace("http", "https")).startswith("no TLS with its host")

    def unknown(*given, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert read("http://no-such-host.example/a") == "the name of its host is not known: no-such-host.example"
    assert read("http:///a").startswith("not a web address")


# Whom is asked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "127.1", "0.0.0.0", "0",
     "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]"],
)  # fmt: skip
def test_private_hosts_are_not_asked_however_they_are_written(server, monkeypatch, host):
    monkeypatch.delenv(ALLOW)
    url = server.at("/a", web_server.page(b"secret")).replace("127.0.0.1", host)
    said = read(url)
    assert "--allow-private-hosts" in said or said.startswith("not a web address"), said
    assert server.asked == []


def test_what_counts_is_the_address_of_the_connection(server, monkeypatch):
    """A name that resolves to another address each time, as whoever owns it likes."""
    monkeypatch.delenv(ALLOW)
    real, resolved = socket.getaddrinfo, []

    def rebinding(host, *given, **options):
        resolved.append(host)
        return real("127.0.0.1", *given, **options)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = server.at("/a", web_server.page(b"secret")).replace("127.0.0.1", "example.org")
    assert read(url) == "its host is 127.0.0.1, a private address: see --allow-private-hosts"
    assert (resolved, server.asked) == (["example.org"], [])


PRIVATE = ("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1",
           "192.168.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1",
           "fe80::1", "fe80::1%2", "fc00::1", "ff02::1", "fec0::1", "::ffff:10.0.0.1",
           "64:ff9b::a00:1", "2002:a00:1::1", "::127.0.0.1", "2001:db8::1")  # fmt: skip
PUBLIC = ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address):
    assert not web.is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert web.is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_stays_what_it_is_in_ipv6(number):
    ip = ipaddress.IPv4Address(number)
    expected = web.is_public(str(ip))
    assert expected <= ip.is_global
    for base in (0xFFFF << 32, 0x64FF9B << 96):
        assert web.is_public(str(ipaddress.IPv6Address(base + number))) == expected
    assert web.is_public(str(ipaddress.IPv6Address((0x2002 << 112) + (number << 80)))) == expected


# Redirects


def test_a_redirect_on_the_same_host_is_followed(server):
    server.at("/b", web_server.page(b"abc"))
    for target in ("/b", f"http://127.0.0.1:{server.port}/b"):
        assert read(server.at("/a", web_server.moved(target))) == b"abc"


def test_redirects_end(server):
    assert read(server.at("/a", web_server.moved("/a"))) == "more than 5 redirects"
    assert len(server.asked) == 6


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://[", "data:,x"])
def test_a_redirect_to_what_is_no_web_address(server, target):
    assert "not a web address" in read(server.at("/a", web_server.moved(target)))


def test_a_redirect_to_another_host_or_port_needs_an_option(server, monkeypatch):
    monkeypatch.setenv(ALLOW, "private-hosts")
    other = web_server.WebServer()
    url = server.at("/a", web_server.moved(other.at("/b", web_server.page(b"abc"))))
    said = f"the server redirects to another host, 127.0.0.1:{other.port}: see --allow-redirects"
    assert (read(url), other.asked) == (said, [])
    monkeypatch.setenv(ALLOW, "private-hosts redirects")
    assert read(url) == b"abc"
    other.stop()


def test_redirects_that_are_allowed_do_not_lead_to_private_hosts(server, monkeypatch):
    server.at("/b", web_server.page(b"secret"))
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *given, **more: real("127.0.0.1", *given, **more))
    monkeypatch.setattr(web, "is_public", lambda address, real=web.is_public: address == "127.0.0.1")
    monkeypatch.setenv(ALLOW, "redirects")
    for target in ("http://169.254.169.254/latest", "http://10.0.0.1/", "http://[::1]/"):
        said = read(server.at("/a", web_server.moved(target)).replace("127.0.0.1", "public.example"))
        assert said.endswith("a private address: see --allow-private-hosts")


# In a manifest


def test_images_of_a_csv_are_read_and_a_known_one_is_not(server, tmp_path):
    rows = []
    for number in range(4):
        draw(tmp_path / "one.png", (60 * number, 9, 9))
        tags = [b'ETag: "%d"' % number] if number else []
        url = server.at(f"/{number}.png", web_server.page((tmp_path / "one.png").read_bytes(), *tags))
        rows.append(f"{url},{'ab'[number % 2]}")
    (tmp_path / "set.csv").write_text("\n".join(["path,label", *rows]))
    done = fill(read_manifest(tmp_path / "set.csv"), [FakeBackbone()])[0]
    assert (done.ok, done.rejected) == (4, 0)
    server.asked.clear()
    done = fill(read_manifest(tmp_path / "set.csv"), [FakeBackbone()])[0]
    assert (done.ok, done.computed) == (4, 0)
    assert sorted(server.asked) == [("GET", "/0.png"), *(("HEAD", f"/{number}.png") for number in range(4))]


def test_only_what_does_not_exist_is_said_not_to_exist(server, tmp_path):
    gone, busy = server.at("/gone.png", web_server.status(404)), server.at("/busy.png", web_server.status(503))
    assert object_store.identities([gone, busy]).keys() == {busy}
    (tmp_path / "set.csv").write_text(f"path,label\n{gone},a\n{busy},b\n")
    manifest = read_manifest(tmp_path / "set.csv")
    assert manifest.files == [busy]
    assert [tuple(reject) for reject in manifest.rejects] == [(gone, "there is no such object")]


def test_the_options(server, fc7, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv(ALLOW, "")
    draw(tmp_path / "one.png", (9, 9, 200))
    url = server.at("/a.png", web_server.page((tmp_path / "one.png").read_bytes()))
    code, out, _ = fc7("predict", bundle, url, "--quiet")
    assert (code, "--allow-private-hosts" in out) == (1, True)
    code, out, err = fc7("predict", bundle, url, "--quiet", "--allow-private-hosts")
    assert (code, "--allow" in out) == (0, False), err
