"""A model hub on 127.0.0.1 with the API of the pinned ModelScope client and injectable faults."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dropscribe.engine.models.store import BUNDLED

#: ModelScope ids of FunASR's model names.
SEACO = "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch"
FSMN_VAD = "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch"
#: Small models under official names.
OFFICIAL = {SEACO: BUNDLED / "paraformer-mini", FSMN_VAD: BUNDLED / "vad-mini"}
#: Environment variables of the client: one attempt, so that tests do not wait for retries.
SHORT_LIMITS = {
    "MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1",
    "MODELSCOPE_REPO_TREE_PAGE_TIMEOUT_SECONDS": "5",
    "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "0",
    "MODELSCOPE_DOWNLOAD_TIMEOUT": "5",
}
CHUNK = 16 * 1024


@dataclass
class Hub:
    """Served models, injected faults and received requests. Set before a client connects; handlers read it."""

    models: Mapping[str, Path]
    #: Status of every answer to a request for the list of files, or for a file whose name is the key.
    status: dict[str, int] = field(default_factory=dict)
    #: Files served with a wrong byte in the middle.
    damaged: set[str] = field(default_factory=set)
    #: Number of bytes of each file that are sent before `go_on` is set; -1: not even headers.
    held: dict[str, int] = field(default_factory=dict)
    go_on: threading.Event = field(default_factory=threading.Event)
    #: Set once all bytes of a held file that may be sent have been sent.
    holding: threading.Event = field(default_factory=threading.Event)
    #: Body of every response, to simulate a server that is no hub.
    page: bytes | None = None
    #: (file, first byte asked for) of each download; the file is "" for a list of files.
    asked: list[tuple[str, int]] = field(default_factory=list)
    address: str = ""

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """Environment of a command that uses this hub, with its cache below `home`."""
        return command_environment(home, MODELSCOPE_ENDPOINT=f"http://{self.address}", **more)


def command_environment(home: Path, **more: str) -> dict[str, str]:
    """Environment of a command with its cache below `home` and one download attempt."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not re.match("modelscope|https?_proxy|all_proxy", k, re.IGNORECASE)
    }
    return kept | SHORT_LIMITS | {"HOME": str(home)} | more


@contextmanager
def running_hub(models: Mapping[str, Path] = OFFICIAL) -> Iterator[Hub]:
    """Run a hub that serves `models`, by hub id."""
    hub = Hub(models)

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.address = f"127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Hub

    def do_GET(self) -> None:
        hub, url = self.served, urlsplit(self.path)
        if hub.page is not None:
            return self._answer(200, hub.page, "text/html")
        found = re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo(/files)?", url.path)
        if found is None or found[1] not in hub.models:
            return self._json(404, {"Code": 10010205001, "Message": "模型不存在", "Success": False})
        directory = hub.models[found[1]]
        name = "" if found[2] else parse_qs(url.query)["FilePath"][0]
        first = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        hub.asked.append((name, first))
        if name in hub.status:
            return self._json(hub.status[name], {"Message": "told to fail", "Success": False})
        if not name:
            self._hold(name, 0)
            return self._json(
                200, {"Code": 200, "Data": {"Files": [_entry(p) for p in sorted(directory.iterdir())]}}
            )
        return self._file(name, (directory / name).read_bytes(), first)

    def _file(self, name: str, content: bytes, first: int) -> None:
        if name in self.served.damaged:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if self.served.held.get(name) == -1:
            self._hold(name, 0)
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        for at in range(first, len(content), CHUNK):
            self._hold(name, at)
            self.wfile.write(content[at : at + CHUNK])

    def _hold(self, name: str, sent: int) -> None:
        if sent >= self.served.held.get(name, sent + 1):
            self.served.holding.set()
            self.served.go_on.wait()

    def _json(self, status: int, body: Any) -> None:
        self._answer(status, json.dumps(body).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Do nothing."""


def _entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "Path": path.name, "Name": path.name, "Type": "blob", "Size": len(content),
        "Sha256": hashlib.sha256(content).hexdigest(),
    }  # fmt: skip
