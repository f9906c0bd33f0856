"""A local server that speaks S3 (moto), which counts what it is asked and can be told to answer otherwise."""

import threading
from urllib.parse import unquote

BUCKET = "pictures"
SECRET = "not-a-secret-but-nobody-may-print-it"
KEY = "AKIDUMMYDUMMYDUMMY12"


class Server:
    """S3 on a free port of the loopback, in threads of this process.

    Attributes
    ----------
    asked
        (method, path, query) of each request.
    answer
        Called with method and path; returns a WSGI status to fail with, or nothing.
    """

    def __init__(self):
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log(self, *words, **more):
                pass

        self._application = DomainDispatcherApplication(create_backend_app)
        self.asked, self.answer = [], lambda method, path: None
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=Quiet)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _serve(self, environ, start):
        method, path = environ["REQUEST_METHOD"], unquote(environ["PATH_INFO"])
        self.asked.append((method, path, environ["QUERY_STRING"]))
        status = self.answer(method, path)
        if status:
            start(status, [("Content-Length", "0")])
            return [b""]
        return self._application(environ, start)

    def objects(self, method="GET"):
        """Return the paths of objects that were asked for, listings apart."""
        return [path for verb, path, query in self.asked if verb == method and "list-type" not in query and path[1:]]

    def forget(self):
        self.asked.clear()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def environment(monkeypatch, tmp_path, endpoint):
    """Be somebody who may use the server."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "XDG_CACHE_HOME": str(tmp_path / "user"),
    }.items():
        monkeypatch.setenv(name, value)


def upload(server, folder, prefix):
    """Put a folder's files below a prefix of the bucket and return its URL."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            server.store.pipe_file(f"{BUCKET}/{prefix}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    server.forget()
    return f"s3://{BUCKET}/{prefix}"
