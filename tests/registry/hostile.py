"""A registry of our own that says whatever a test wants, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import base_image

MANIFEST = f"{base_image.OCI}.manifest.v1+json"
INDEX = f"{base_image.OCI}.index.v1+json"


@dataclass(slots=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = -1  # the connection is closed after so many bytes
    endless: bool = False  # the body is sent again and again


@dataclass(slots=True)
class Asked:
    method: str
    path: str
    headers: dict[str, str]


class Hostile:
    """`answers` maps "METHOD /path" to an Answer, a list of them (one a time, the last one stays), or a function."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.name = ""
        self.answers: dict[str, Any] = {}
        self.asked: list[Asked] = []

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.name}"

    def paths(self, start: str = "") -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked if one.path.startswith(start)]

    def manifest(self, reference: str, data: bytes, kind: str = MANIFEST, **headers: str) -> None:
        self.answers[f"GET /v2/app/manifests/{reference}"] = Answer(data, headers={"Content-Type": kind, **headers})

    def blob(self, digest: str, answer: Any) -> None:
        self.answers[f"GET /v2/app/blobs/{digest}"] = Answer(answer) if isinstance(answer, bytes) else answer

    def serve(self, layout: base_image.Layout, manifest: Mapping[str, Any], tag: str = "1") -> None:
        """An image as it should be; a test changes what it wants."""
        for digest, data in layout.blobs.items():
            self.blob(digest, data)
            self.manifest(digest, data)
        self.manifest(tag, layout.blobs[manifest["digest"]])

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        found = self.answers.get(f"{method} {path}") or self.answers.get(f"{method} {path.partition('?')[0]}")
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if callable(found):
            found = found(headers)
        if found is None:
            return Answer(b'{"errors": [{"code": "UNKNOWN", "message": "not here"}]}', 404)
        assert isinstance(found, Answer)
        return found


def ranged(data: bytes, cuts: list[int]) -> Callable[[Mapping[str, str]], Answer]:
    """A blob whose connection breaks after each of those numbers of bytes, and that can be resumed."""

    def answer(headers: Mapping[str, str]) -> Answer:
        start = int(headers.get("range", "bytes=0-")[6:-1])
        cut = cuts.pop(0) if cuts else -1
        if not start:
            return Answer(data, cut=cut)
        told = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return Answer(data[start:], 206, told, cut)

    return answer


@contextlib.contextmanager
def hostile(certificate: tuple[str, str] | None = None) -> Iterator[Hostile]:
    """`certificate` is (certificate, key): with it, the registry speaks TLS."""
    registry = Hostile("https" if certificate else "http")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            while length > 0 and (got := len(self.rfile.read(min(length, 1 << 16)))):
                length -= got
            headers = {name.lower(): value for name, value in self.headers.items()}
            registry.asked.append(Asked(self.command, self.path, headers))
            found = registry.answer(self.command, self.path, headers)
            with contextlib.suppress(OSError):
                self.send_response(found.status)
                for name, value in found.headers.items():
                    self.send_header(name, value)
                if not found.endless and "Content-Length" not in found.headers:
                    self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(found.body if found.cut < 0 else found.body[: found.cut])
                while found.endless:
                    self.wfile.write(found.body)
                self.wfile.flush()
            if found.cut >= 0 or found.endless:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # a client that has heard enough

    server = Server(("127.0.0.1", 0), Handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    registry.name = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
