"""The guard of the review server: requests without the address are refused, and answers are sealed."""

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HTTP = 80  # the port that browsers leave out of Host and Origin

HEADERS = {
    "content-security-policy": "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}


class Guard:
    """Refuse requests without the address, and add strict security headers to every answer.

    Parameters
    ----------
    application
        The ASGI application that answers all other requests.
    """

    def __init__(self, application: ASGIApp, token: str, port: int) -> None:
        self._application, self._token = application, token.encode()
        ends = [f":{port}", ""] if port == HTTP else [f":{port}"]
        self._hosts = {f"{name}{end}" for name in ("127.0.0.1", "localhost") for end in ends}  # this machine
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        reason = self._refusal(scope)
        answer = JSONResponse({"error": reason}, 403) if reason else self._application
        await answer(scope, receive, sealed)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        token = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "This is not the host name of the review: open the address that fc7 review printed."
        if any(origin not in self._origins for origin in headers.getlist("origin")):
            return "Another page has no business here."
        # In constant time, so that no answer's delay tells how much of a guessed token is right.
        if not hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token):
            return "The address lacks its token: open the whole address that fc7 review printed."
        return ""
