"""Git repositories, served over http by git's own server program, and the same with what attackers put there."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import missing


@dataclass
class Repository:
    """A repository below a folder; commits are made of whole trees of text files."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            self.path.mkdir(parents=True)
            self.run("init", "-q", "-b", "main")

    def run(self, *words: str, given: bytes = b"") -> str:
        names = {
            "GIT_AUTHOR_NAME": "a",
            "GIT_AUTHOR_EMAIL": "a@b",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        }
        env = {**os.environ, **names, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *words], cwd=self.path, env=env, input=given, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def commit(self, files: Mapping[str, str | bytes]) -> str:
        """The commit of one more state, which has these files beside those there were."""
        for name, content in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.run("add", "--all")
        self.run("commit", "-q", "-m", "x", "--allow-empty")
        return self.run("rev-parse", "HEAD")

    def commit_entry(self, mode: str, name: str, object_id: str) -> str:
        """The commit of one more entry of any kind, whether or not there is what it names."""
        self.run("update-index", "--add", "--cacheinfo", f"{mode},{object_id},{name}")
        tree = self.run("write-tree", "--missing-ok")
        commit = self.run("commit-tree", "-m", "x", tree)
        self.run("update-ref", "refs/heads/main", commit)
        return commit

    def blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", given=content)


@dataclass
class GitServer:
    """Serves every repository below a folder at `http://127.0.0.1:PORT/NAME.git`; `asked` are the paths so far."""

    root: Path
    port: int = 0
    asked: list[str] = field(default_factory=list)
    redirect: str = ""
    heads: threading.Event = field(default_factory=threading.Event)

    def repository(self, name: str = "wf") -> Repository:
        return Repository(self.root / f"{name}.git")

    def url(self, name: str = "wf", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}.git"


@contextmanager
def serving(root: Path) -> Iterator[GitServer]:
    if shutil.which("git") is None:
        missing("git")
    double = GitServer(root)

    class Answers(_Backend):
        server_of = double

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        double.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield double
        server.shutdown()


class _Backend(http.server.BaseHTTPRequestHandler):
    """Hands each request to git-http-backend, as CGI."""

    server_of: GitServer

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        double = self.server_of
        double.asked.append(self.path)
        if double.redirect:
            self.send_response(302)
            self.send_header("Location", double.redirect + self.path)
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        env = {
            **os.environ, "GIT_PROJECT_ROOT": str(double.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        self.send_response(int(headers.pop("Status", "200 OK").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815
