"""A web server of a few pages, among them those of a TRS registry, and one of the files of a folder."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import quote

REGISTRY = "/api/ga4gh/trs/v2"


@dataclass
class Pages:
    """What each path answers with, and the paths that were asked for."""

    port: int = 0
    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def tool(self, name: str, version: str, documents: Mapping[str, str]) -> str:
        """Publish a tool version whose first document is the main one; the URL of the version."""
        base = f"{REGISTRY}/tools/{quote(name, safe='')}/versions/{quote(version, safe='')}"
        listed = [
            {"path": path, "file_type": "SECONDARY_DESCRIPTOR" if number else "PRIMARY_DESCRIPTOR"}
            for number, path in enumerate(documents)
        ]
        self.pages[f"{base}/WDL/files"] = json.dumps(listed).encode()
        for path, text in documents.items():
            self.pages[f"{base}/PLAIN_WDL/descriptor/{quote(path, safe='')}"] = text.encode()
        return f"{self.url}{base}"


class _Quiet:
    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serving() -> Iterator[Pages]:
    double = Pages()

    class Answers(_Quiet, http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            double.asked.append(self.path)
            page = double.pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            self.wfile.write(page or b"")

    with _running(Answers) as port:
        double.port = port
        yield double


class _Files(_Quiet, http.server.SimpleHTTPRequestHandler):
    """The files of its `directory`."""


@contextmanager
def serving_files(folder: Path) -> Iterator[str]:
    """The URL of a web server of the files of a folder."""
    with _running(partial(_Files, directory=str(folder))) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(answers: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[int]:
    """The port on which a server runs."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
