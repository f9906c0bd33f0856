"""Fault test 18: a csv of images on servers that never end, drip, pack bombs, redirect, fail or speak no HTTP."""

import time
from pathlib import Path

import pytest
import web_server
from faulty import Fake, alone, gallery, script, warm_up
from waiting import LONG

from fc7.cache import Store
from fc7.cache.urls import allow
from fc7.extract import fill, read_manifest
from fc7.extract.manifest import object_store, web

resource = pytest.importorskip("resource", reason="this system limits no memory and no files")

pytest.importorskip("aiohttp", reason="needs the extra fc7[remote]")

LIMIT = 32 * 2**20  # bytes of an image
MOST = 200e6  # bytes of memory beside what the same run takes on good images
SECONDS = 2.0  # for an image as a whole, at least: as many as all good ones take, on a busy machine

HOSTILE = {
    "endless": (web_server.endless, f"more than {LIMIT} bytes"),
    "gzip bomb": (web_server.bomb, f"more than {LIMIT} bytes"),
    "brotli": (web_server.page(b"x" * 500, b"Content-Encoding: br"), "unasked, by br"),
    "huge header": (web_server.huge_header, "does not speak HTTP"),
    "many headers": (web_server.many_headers, "does not speak HTTP"),
    "no http": (web_server.no_http, "does not speak HTTP"),
    "too short": (web_server.page(b"x" * 10, length=1000), "the connection ended early"),
    "half closed": (web_server.half_closed, "the connection ended early"),
    "redirect loop": (web_server.moved("/redirect loop/0.png".replace(" ", "%20")), "more than 5 redirects"),
    "redirect to this machine": (web_server.moved("http://127.0.0.1:1/"), "redirects to another host"),
    "redirect to the metadata": (
        web_server.moved("http://169.254.169.254/latest/meta-data/"),
        "redirects to another host",
    ),
    **{f"status {code}": (web_server.status(code), f"({code})") for code in (401, 403, 418, 429, 500, 503)},
}
NEVER_DONE = {
    "drip": (web_server.drip, "not answered within"),
    "drip of headers": (web_server.drip_of_headers, "not answered within"),
    "silent": (web_server.silent, "not answered within"),
    "1xx flood": (web_server.flood_of_informations, "not answered within"),
}


def test_a_csv_of_hostile_addresses(tmp_path, size, figure):
    times = size(1, 8)
    found = alone(__file__, "campaign", root=tmp_path, good=size(8, 60), times=times)
    hostile = (len(HOSTILE) + len(NEVER_DONE)) * times
    figure(
        "Hostile web servers",
        f"{hostile} images of a csv: endless bodies, bombs, drips, floods, redirects, statuses, beside {found['good']}",
        f"{hostile - len(found['unnamed'])} not readable, each with its reason, {found['hung']} hung, "
        f"{found['ok']} others computed, peak {found['peak'] / 1e6:.0f} MB more; when the servers were well, "
        f"{found['healed']} of {hostile} were computed",
    )
    assert (found["ok"], found["rejected"]) == (2 * found["good"], hostile)
    assert (found["unnamed"], found["hung"], found["stored"]) == ([], 0, 0)
    assert found["healed"] == hostile
    assert found["peak"] < MOST


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def campaign(root, good, times):
    root = Path(root)
    warm_up(root)
    allow("private-hosts")
    object_store.MAX_BYTES, web.PAUSE, web.SECONDS = LIMIT, 0.01, LONG
    pictures = gallery(root / "pictures", good + (len(HOSTILE) + len(NEVER_DONE)) * times)
    bodies = [path.read_bytes() for path in sorted(pictures.rglob("*.png"))]
    server = web_server.WebServer()
    sound = [server.at(f"/good/{number}.png", web_server.page(bodies.pop())) for number in range(good)]
    start = time.monotonic()
    run(root, "sound", sound)
    took = time.monotonic() - start
    before = peak()
    found = dict.fromkeys(("ok", "rejected", "hung", "stored", "healed"), 0) | {"good": good, "unnamed": []}
    for group, seconds in ((HOSTILE, LONG), (NEVER_DONE, max(SECONDS, took))):
        hostile = set_up(server, group, times)
        web.SECONDS, start = seconds, time.monotonic()
        one = run(root, f"{len(group)} hostile", [*sound, *hostile])
        found["hung"] += time.monotonic() - start > LONG * times
        found["ok"] += one.ok
        found["rejected"] += one.rejected
        found["unnamed"] += [
            f"{reject.path}: {reject.reason}"
            for reject in one.rejects
            if not reject.reason.startswith("not readable: ") or hostile[reject.path] not in reject.reason
        ]
        found["stored"] += len(Store(Fake().recipes[0], root / f"{len(group)} hostile").rejected)
        web.SECONDS = LONG
        for url in hostile:
            server.answers["/" + url.split("/", 3)[3]] = web_server.page(bodies.pop())
        found["healed"] += run(root, f"{len(group)} hostile", [*sound, *hostile]).ok - good
    server.stop()
    return found | {"peak": peak() - before}


def set_up(server, group, times):
    """Return the addresses of hostile images, with the reason of each."""
    packed = web_server.packed_zeros(3 * 2**30)  # 3 MB
    reasons = {}
    for name, (answer, reason) in group.items():
        for number in range(times):
            path = f"/{name}/{number}.png".replace(" ", "%20")
            reasons[server.at(path, answer(packed) if answer is web_server.bomb else answer)] = reason
    return reasons


def run(root, name, urls):
    table = root / f"{name}.csv"
    table.write_text("\n".join(["path,label", *(f"{url},{'ab'[place % 2]}" for place, url in enumerate(urls))]))
    return fill(read_manifest(table), [Fake()], cache=root / name)[0]


if __name__ == "__main__":
    script(globals())
