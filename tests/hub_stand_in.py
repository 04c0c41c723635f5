"""A stand-in for the Hugging Face Hub: an HTTP server that speaks what an upload needs."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_allowed"


@dataclass
class StandIn:
    """What the server was told. Repositories are {branch: {name: bytes}}."""

    url: str = ""
    public: set[str] = field(default_factory=set)  # repositories that were there before
    created: dict[str, dict[str, Any]] = field(default_factory=dict)
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)  # their messages
    blobs: dict[str, bytes] = field(default_factory=dict)  # by SHA-256
    broken: bool = False  # every commit answers 500
    requests: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].split("/")
        name = "/".join(parts[3:5])
        if parts[1:3] == ["api", "models"] and name in self.hub.repos:
            private = bool(self.hub.created.get(name, {}).get("private"))
            self.answer(200, {"id": name, "private": private, "siblings": []})
        else:
            self.answer(404, {"error": "not here"})

    def do_PUT(self) -> None:
        content = self.body()
        wanted = self.path.rsplit("/", 1)[1]
        assert hashlib.sha256(content).hexdigest() == wanted
        self.hub.blobs[wanted] = content
        self.answer(200, {})

    def do_POST(self) -> None:
        content = self.body()
        path = self.path.split("?")[0]
        self.hub.requests.append(path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer(401, {"error": "Invalid username or password."})
        elif path == "/api/validate-yaml":
            known = b"license: no-such" not in content
            errors = [] if known else [{"message": '"license" must be one of [mit]'}]
            self.answer(200 if known else 400, {"errors": errors, "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(content))
        elif "/preupload/" in path:
            modes = [self.mode(f) for f in json.loads(content)["files"]]
            self.answer(200, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(content)["objects"]
            self.answer(200, {"objects": [self.place(o) for o in wanted]}, kind="vnd.git-lfs+json")
        elif "/branch/" in path:
            owner, name, _, branch = path.removeprefix("/api/models/").split("/", 3)
            self.hub.repos[f"{owner}/{name}"][branch] = {}
            self.answer(201, {})
        elif "/commit/" in path and not self.hub.broken:
            self.commit(path, content)
        else:
            self.answer(500, {"error": "out of order"})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('organization') or 'ada'}/{asked['name']}"
        if not name.startswith("ada/"):
            self.answer(403, {"error": "You don't have the rights to create a model under this"})
        elif name in self.hub.public or name in self.hub.repos:
            self.hub.repos.setdefault(name, {"main": {}})
            self.answer(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
        else:
            private = asked.get("private") or asked.get("visibility") == "private"
            self.hub.created[name] = {"private": private}
            self.hub.repos[name] = {"main": {}}
            self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def mode(self, file: dict[str, Any]) -> dict[str, Any]:
        large = file["path"].endswith(".safetensors")
        kind = "lfs" if large else "regular"
        return {"path": file["path"], "uploadMode": kind, "shouldIgnore": False}

    def place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.hub.url}/storage/{wanted['oid']}"
        return {**wanted, "actions": {"upload": {"href": href, "header": {}}}}

    def commit(self, path: str, content: bytes) -> None:
        owner, name, _, branch = path.removeprefix("/api/models/").split("/", 3)
        files = self.hub.repos[f"{owner}/{name}"][branch]
        for line in content.splitlines():
            operation = json.loads(line)
            value = operation["value"]
            if operation["key"] == "header":
                self.hub.commits.append(value["summary"])
            elif operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        url = f"{self.hub.url}/{owner}/{name}/commit/1"
        self.answer(200, {"commitUrl": url, "commitOid": "1" * 40, "success": True})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, value: Any, kind: str = "json") -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", f"application/{kind}")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_hub() -> Iterator[StandIn]:
    """Yield a running stand-in, with nothing in it yet."""
    told = StandIn()
    handler = type("Handler", (_Handler,), {"hub": told})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
