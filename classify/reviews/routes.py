"""The requests of the review page and their answers; the only module that needs Starlette."""

import json
from collections.abc import Callable
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
from .review import Change, Review
from .subjects import Subject

SMALL, LARGE = 320, 1280  # px, the longer side of an image in the grid and by itself
KEPT = 2000  # small images cached in memory
BODY = 4096  # most bytes of a request

_ASSETS = {
    "page.css": ("pages/page.css", "text/css"),
    "review.css": ("reviews/review.css", "text/css"),
    "review.js": ("reviews/review.js", "text/javascript"),
}


def application(review: Review, images: Path, token: str, top: int) -> Starlette:
    """Return the ASGI application, which answers below the path of the token.

    Parameters
    ----------
    images
        The folder that image paths are relative to.
    top
        The number of images in a list.
    """
    requests = _Requests(review, images, top)
    routes = [
        Route("/", requests.page),
        Route("/state", requests.state),
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
    def __init__(self, review: Review, images: Path, top: int) -> None:
        self._review, self._images, self._top = review, images, top
        self._small = lru_cache(maxsize=KEPT)(lambda image: self._jpeg(image, SMALL))

    def page(self, request: Request) -> Response:
        return HTMLResponse(environment().get_template("reviews/review.html.jinja").render(name=self._review.name))

    def asset(self, request: Request) -> Response:
        name, kind = _ASSETS[request.url.path.rpartition("/")[2]]
        return Response(asset(name), media_type=kind)

    def thumbnail(self, request: Request) -> Response:
        return self._picture(request, self._small)

    def image(self, request: Request) -> Response:
        return self._picture(request, lambda image: self._jpeg(image, LARGE))

    def state(self, request: Request) -> Response:
        return JSONResponse(_state(self._review, self._top))

    async def decide(self, request: Request) -> Response:
        image, label, marks = _decision(await _body(request))
        return await run_in_threadpool(self._changed, lambda: self._review.decide(image, label, **marks))

    async def undo(self, request: Request) -> Response:
        if await _body(request):
            raise HTTPException(400, "undo takes {}.")
        return await run_in_threadpool(self._changed, self._review.undo)

    def _changed(self, act: Callable[[], Change]) -> Response:
        change = act()
        told = asdict(change) | {"warning": without_folders(change.warning)}
        return JSONResponse(_state(self._review, self._top, change.image) | {"change": told})

    def _picture(self, request: Request, jpeg: Callable[[int], bytes]) -> Response:
        number = request.path_params["image"]
        if not (number.isascii() and number.isdigit() and len(number) < 10 and int(number) < len(self._review)):
            raise HTTPException(404, f"There is no image {number[:20]!r}.")
        try:
            data = jpeg(int(number))
        except (ImageRejected, OSError) as error:
            raise HTTPException(404, str(getattr(error, "strerror", None) or error)) from error
        return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})

    def _jpeg(self, image: int, edge: int) -> bytes:
        path = self._images / self._review.subject(image).paths[0]
        return smaller(path, self._review.key(image), edge, scaled=True)


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


def _decision(body: dict[str, Any]) -> tuple[int, str | None, dict[str, bool]]:
    image, label = body.get("image"), body.get("label")
    marks = {name: body.get(name, False) for name in ("bad", "new")}
    valid = (
        type(image) is int and isinstance(label, str | None) and all(isinstance(mark, bool) for mark in marks.values())
    )
    if not valid or body.keys() - {"image", "label", "bad", "new"}:
        raise HTTPException(
            400, 'A decision is {"image": number, "label": class or null, "bad": true or false, "new": true or false}.'
        )
    return int(body["image"]), label, marks


def _state(review: Review, top: int, *also: int) -> dict[str, Any]:
    """Return the state that the page shows, including the subjects of the images in `also`."""
    judged, closed = review.judged, review.closed
    lists = {
        "suspects": judged.suspects[:top].tolist(),
        "unlabelled": judged.unlabelled[:top].tolist(),
        "uncertain": judged.uncertain[:top].tolist(),
        "reviewed": closed[:top],
    }
    every = sorted({*also, *(image for images in lists.values() for image in images)})
    return {
        "name": shown(review.name),
        "file": shown(review.labels.path.name),
        "classes": review.classes,
        "images": len(review),
        "agreement": asdict(judged.agreement),
        "counts": review.counts | {"uncertain": len(judged.uncertain), "closed": len(closed)},
        "changes": review.changes,
        "lists": lists,
        "subjects": {subject.image: _tile(subject) for subject in review.subjects(every)},
    }


def _tile(subject: Subject) -> dict[str, Any]:
    return asdict(subject) | {"paths": [shown(relative(path)) for path in subject.paths]}
