"""The requests of the review page and their answers; the only module that needs Starlette."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route, Router

from ...errors import FC7Error, ImageRejected, UsageError
from ..pages.page import asset, environment
from ..pages.text import relative, shown, without_folders
from ..pages.thumbnails import smaller
from .changes import Change
from .lists import Lists
from .plane import plane
from .review import Review

SMALL, LARGE = 320, 1280  # px, the longer side of an image in the grid and by itself
KEPT = 2000  # small images cached in memory
BODY = 2**21  # most bytes of a request: a decision may name each of 200,000 images
SOME = 120  # most images whose states are in one answer
ALIKE = 24  # images that are shown as more like one
POINTS = 200  # of the curve

_KINDS = {".css": "text/css", ".js": "text/javascript"}
_OWN = (path.name for path in Path(__file__).with_name("page").iterdir() if path.suffix in _KINDS)
_ASSETS = {name: f"pages/{name}" for name in ("page.css", "map.css", "marks.js", "map.js")} | {
    name: f"reviews/page/{name}" for name in _OWN
}


def application(review: Review, lists: Lists, images: Path, token: str) -> Starlette:
    """Return the ASGI application, which answers below the path of the token.

    Parameters
    ----------
    images
        The folder that image paths are relative to.
    """
    requests = _Requests(review, lists, images)
    routes = [
        Route("/", requests.page),
        Route("/state", requests.state),
        Route("/list", requests.listed),
        Route("/like", requests.like),
        Route("/map", requests.map),
        Route("/subjects", requests.states),
        Route("/decide", requests.decide, methods=["POST"]),
        Route("/undo", requests.undo, methods=["POST"]),
        Route("/thumbnails/{image}.jpg", requests.thumbnail),
        Route("/images/{image}.jpg", requests.image),
        *(Route(f"/{name}", requests.asset) for name in _ASSETS),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refused, FC7Error: _declined, Exception: _failed}
    inner = Router(routes, redirect_slashes=False)
    return Starlette(routes=[Mount(f"/{token}", app=inner)], exception_handlers=handlers)


class _Requests:
    def __init__(self, review: Review, lists: Lists, images: Path) -> None:
        self._review, self._lists, self._images = review, lists, images
        self._small = lru_cache(maxsize=KEPT)(lambda image: self._jpeg(image, SMALL))

    def page(self, request: Request) -> Response:
        return HTMLResponse(environment().get_template("reviews/page/review.html.jinja").render(name=self._review.name))

    def asset(self, request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        return Response(asset(_ASSETS[name]), media_type=_KINDS[Path(name).suffix])

    def thumbnail(self, request: Request) -> Response:
        return self._picture(request, self._small)

    def image(self, request: Request) -> Response:
        return self._picture(request, lambda image: self._jpeg(image, LARGE))

    def state(self, request: Request) -> Response:
        return JSONResponse(_state(self._review) | {"classes": self._review.classes})

    def listed(self, request: Request) -> Response:
        asked = request.query_params
        images = self._lists.images(asked.get("name", ""), asked.get("search", ""), asked.get("label"))
        return self._several(images or [], {} if images is not None else {"waits": self._lists.waits})

    def like(self, request: Request) -> Response:
        image = self._numbers(request.query_params.get("image", ""))[0]
        return self._several([image, *self._review.like(image, ALIKE - 1).tolist()])

    def map(self, request: Request) -> Response:
        return JSONResponse(plane(self._review))

    def states(self, request: Request) -> Response:
        return JSONResponse({"subjects": self._told(self._numbers(request.query_params.get("images", "")))})

    async def decide(self, request: Request) -> Response:
        images, options = _decision(await _body(request))
        return await run_in_threadpool(self._changed, lambda: self._review.decide(images, **options), options["seen"])

    async def undo(self, request: Request) -> Response:
        body = await _body(request)
        if body.keys() - {"seen"} or not _is_version(body.get("seen")):
            raise HTTPException(400, 'undo takes {"seen": version}.')
        return await run_in_threadpool(self._changed, lambda: self._review.undo(body.get("seen")), body.get("seen"))

    def _changed(self, act: Callable[[], Change], seen: int | None) -> Response:
        before = self._review.classes
        change = act()
        told = asdict(change) | {"warning": without_folders(change.warning)}
        answer = _state(self._review) | {"change": told, "subjects": self._told(change.images)}
        if self._review.classes != before or seen != answer["version"] - 1:  # of another tab, perhaps
            answer["classes"] = self._review.classes
        return JSONResponse(answer)

    def _several(self, images: Sequence[int], more: dict[str, str] | None = None) -> Response:
        return JSONResponse({"images": images, "subjects": self._told(images)} | (more or {}))

    def _told(self, images: Sequence[int]) -> dict[int, dict[str, Any]]:
        subjects = self._review.subjects(images[:SOME])
        return {
            subject.image: asdict(subject) | {"paths": [shown(relative(path)) for path in subject.paths]}
            for subject in subjects
        }

    def _numbers(self, text: str) -> list[int]:
        """Read images; raise where one is none."""
        names = text.split(",")[: SOME + 1]
        return [self._number(name) for name in names]

    def _number(self, name: str) -> int:
        if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(self._review)):
            raise HTTPException(404, f"There is no image {name[:20]!r}.")
        return int(name)

    def _picture(self, request: Request, jpeg: Callable[[int], bytes]) -> Response:
        number = self._number(request.path_params["image"])
        try:
            data = jpeg(number)
        except (ImageRejected, OSError) as error:
            raise HTTPException(404, str(getattr(error, "strerror", None) or error)) from error
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    def _jpeg(self, image: int, edge: int) -> bytes:
        path = self._images / self._review.paths[image][0]
        return smaller(path, self._review.key(image), edge)


def _refused(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _declined(request: Request, error: FC7Error) -> Response:
    return JSONResponse({"error": without_folders(str(error))}, 400 if isinstance(error, UsageError) else 409)


def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "This should not have happened; the terminal has more."}, 500)


async def _body(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request, if it is small."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send application/json.")
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > BODY:
            raise HTTPException(413, f"More than {BODY} bytes.")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "The body is not JSON.") from error
    if not isinstance(values, dict):
        raise HTTPException(400, "The body is not a JSON object.")
    return values


def _decision(body: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
    """Return the images of a decision, and the options of :meth:`Review.decide`."""
    images, options = body.pop("images", None), {"label": None, "bad": False, "new": False, "seen": None} | body
    valid = isinstance(images, list) and all(type(image) is int for image in images) and len(options) == 4
    valid = valid and isinstance(options["label"], str | None) and _is_version(options["seen"])
    if not (valid and isinstance(options["bad"], bool) and isinstance(options["new"], bool)):
        raise HTTPException(
            400,
            'A decision is {"images": [number, ...], "label": class or null, "bad": true or false, "new": true or '
            'false, "seen": version}.',
        )
    return images, options


def _is_version(seen: Any) -> bool:
    return seen is None or type(seen) is int


def _state(review: Review) -> dict[str, Any]:
    """Return what the page shows of the review as a whole, but for its classes."""
    judged, curve = review.judged, review.curve
    step = max(1, len(curve) // POINTS)
    points = {point.judged: point.right for point in [*curve[::step], curve[-1]] if point.judged}
    return {
        "name": shown(review.name),
        "file": shown(review.labels.path.name),
        "images": len(review),
        "agreement": asdict(judged.agreement),
        "counts": review.counts | {"uncertain": len(judged.uncertain), "closed": len(review.closed)},
        "changes": review.changes,
        "version": review.version,
        "curve": sorted(points.items()),
    }
