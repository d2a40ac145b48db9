"""A web server of a few pages, among them those of a TRS registry."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@contextmanager
def serving() -> Iterator[Pages]:
    double = Pages()

    class Answers(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def do_GET(self) -> None:
            double.asked.append(self.path)
            page = double.pages.get(self.path)
            self.send_response(200 if page is not None else 404)
            self.send_header("Content-Length", str(len(page or b"")))
            self.end_headers()
            self.wfile.write(page or b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        double.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield double
        server.shutdown()
