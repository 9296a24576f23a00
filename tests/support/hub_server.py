"""A hub on loopback: the requests by which `huggingface_hub` lists and fetches, and their faults.

    with hub_server() as hub:
        hub.repos["owner/m"] = {"m-Q8_0.gguf": b"..."}
        ... HF_ENDPOINT=hub.url ...

As the real one it tells sizes and sha256 of files in git LFS, answers ranges, and says what is
wrong in `X-Error-Code`.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "1234567890123456789012345678901234567890"


class Hub:
    """What it has, what it does wrong, and what it was asked for.

    Attributes:
        gated: repositories that want a token; `token` is the one that may read them.
        lies: file -> the sha256 that is told of it.
        gone: files that are listed and cannot be fetched.
        break_after: bytes of a file after which the line breaks, the first so many times.
        stall_after: bytes after which nothing more comes, for as long as `stalled` is not set.
        asked: (path, Range header), in order.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.token = "hf_right"
        self.lies: dict[str, str] = {}
        self.gone: set[str] = set()
        self.break_after = self.num_breaks = 0
        self.stall_after = 0
        self.stalled = threading.Event()
        self.bytes_per_s = 0
        self.status = 200
        self.asked: list[tuple[str, str]] = []
        self.url = ""

    def ranges(self, file: str) -> list[str]:
        """Of the requests for a file."""
        return [wanted for path, wanted in self.asked if path.endswith(f"/{file}")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append((path, self.headers.get("Range", "")))
        if hub.status != 200:
            self._refuse(hub.status, "")
        elif path.startswith("/api/models/"):
            self._list(path.removeprefix("/api/models/"))
        else:
            repo, _, rest = path[1:].partition("/resolve/")
            self._send_file(repo, rest.partition("/")[2])

    def do_HEAD(self) -> None:
        """What the library's own download asks first."""
        repo, _, rest = unquote(urlsplit(self.path).path)[1:].partition("/resolve/")
        data = self.hub.repos[repo][rest.partition("/")[2]]
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("X-Linked-Etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Linked-Size", str(len(data)))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _refuse(self, status: int, code: str, message: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        if message:
            self.send_header("X-Error-Message", message)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _list(self, repo: str) -> None:
        if repo not in self.hub.repos:
            self._refuse(401, "RepoNotFound")
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
                "lfs": {
                    "sha256": self.hub.lies.get(name, hashlib.sha256(data).hexdigest()),
                    "size": len(data),
                    "pointerSize": 134,
                },
            }
            for name, data in self.hub.repos[repo].items()
        ]
        answer = json.dumps({"id": repo, "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _send_file(self, repo: str, name: str) -> None:
        hub = self.hub
        data = hub.repos.get(repo, {}).get(name)
        if data is None or name in hub.gone:
            self._refuse(404, "EntryNotFound")
            return
        if self._token() == "hf_expired":
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return
        if repo in hub.gated and self._token() != hub.token:
            self._refuse(403 if self._token() else 401, "GatedRepo")
            return
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if "Range" in self.headers else 200)
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self._send(data[start:], start)

    def _send(self, data: bytes, start: int) -> None:
        hub, piece = self.hub, 1 << 16
        for at in range(0, len(data), piece):
            there = start + at
            if hub.num_breaks and there >= hub.break_after:
                hub.num_breaks -= 1
                self.close_connection = True
                return
            if hub.stall_after and there >= hub.stall_after:
                hub.stalled.wait()
            if hub.bytes_per_s:
                time.sleep(piece / hub.bytes_per_s)
            try:
                self.wfile.write(data[at : at + piece])
            except OSError:  # whoever asked was killed
                self.close_connection = True
                return


@contextmanager
def hub_server() -> Iterator[Hub]:
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.stalled.set()
        server.shutdown()
        server.server_close()
        thread.join()
