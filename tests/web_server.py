"""A web server on the loopback whose answers are written byte by byte, so that they can be anything."""

import contextlib
import gzip
import itertools
import socket
import threading

from waiting import spend

OK = b"HTTP/1.1 200 OK\r\n"


class WebServer:
    """Answers each path as its function writes to the socket, in threads of this process.

    Attributes
    ----------
    answers
        By path: called with a socket whose request was read.
    asked
        (method, path) of each request.
    """

    def __init__(self, family=socket.AF_INET):
        self.answers, self.asked = {}, []
        self._ended = threading.Event()
        self._listening = socket.create_server(("", 0), family=family, backlog=128)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def at(self, path, answer):
        """Let a path be answered so, and return its URL."""
        self.answers[path] = answer
        return f"http://127.0.0.1:{self.port}{path}"

    def stop(self):
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self):
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                part = connection.recv(2**16)
                if not part:
                    return
                if not part[:1].isalpha():  # TLS
                    connection.sendall(b"HTTP/1.1 400 X\r\n\r\n")
                    return
                request += part
            method, path, _ = request.split(b"\r\n")[0].decode().split(" ")
            self.asked.append((method, path))
            answer = self.answers.get(path, status(404))
            answer(_WithoutBody(connection) if method == "HEAD" else connection)


class _WithoutBody:
    """A connection that ends after the headers, as a HEAD request wants it."""

    def __init__(self, connection):
        self._connection, self._last = connection, b""

    def sendall(self, data):
        head, end, _ = (self._last + data).partition(b"\r\n\r\n")
        self._connection.sendall((head + end)[len(self._last) :])
        self._last = head[-3:]
        if end:
            raise OSError("that is all")

    def recv(self, size):
        return self._connection.recv(size)

    def shutdown(self, how):
        self._connection.shutdown(how)


def page(body, *headers, length=None):
    """Answer with a body; `length` is what the header says of it, if it does not tell the truth."""
    lines = [*headers, b"Content-Length: %d" % (len(body) if length is None else length), b"Connection: close"]
    return lambda connection: connection.sendall(OK + b"\r\n".join([*lines, b"", body]))


def status(code, *headers):
    lines = [b"HTTP/1.1 %d X" % code, *headers, b"Content-Length: 0", b"Connection: close", b"", b""]
    return lambda connection: connection.sendall(b"\r\n".join(lines))


def moved(to, code=302):
    return status(code, b"Location: " + to.encode())


def endless(connection):
    connection.sendall(OK + b"Connection: close\r\n\r\n")
    while True:
        connection.sendall(bytes(2**20))


def drip(connection):
    connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        spend(0.05)


def drip_of_headers(connection):
    connection.sendall(OK)
    for number in itertools.count():
        connection.sendall(b"X-%d: y\r\n" % number)
        spend(0.05)


def silent(connection):
    connection.recv(1)


def half_closed(connection):
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\nabc")
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def flood_of_informations(connection):
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def huge_header(connection):
    connection.sendall(OK + b"X: ")
    while True:
        connection.sendall(b"y" * 2**16)


def many_headers(connection):
    connection.sendall(OK)
    while True:
        connection.sendall(b"X-Y: z\r\n" * 1000)


def no_http(connection):
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def bomb(packed):
    return page(packed, b"Content-Encoding: gzip")


def packed_zeros(size):
    """Return `size` zero bytes as gzip, a thousandth of that, in parts."""
    part = 2**24
    return gzip.compress(bytes(part)) * (size // part)
