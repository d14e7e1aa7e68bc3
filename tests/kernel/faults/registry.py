"""A registry of one image: `registry.py LAYOUT`, an OCI layout, whatever name is asked for. Prints its port."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LAYOUT = Path(sys.argv[1])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        kind = "application/octet-stream"
        if "/manifests/" in self.path:
            manifest = json.loads((LAYOUT / "index.json").read_text())["manifests"][0]
            name, kind = manifest["digest"], manifest["mediaType"]
        blob = LAYOUT / "blobs/sha256" / name.removeprefix("sha256:")
        body = blob.read_bytes() if name and blob.is_file() else b""
        self.send_response(200 if body or not name else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_port, flush=True)
    server.serve_forever()
