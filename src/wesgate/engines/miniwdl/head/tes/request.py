"""A WDL call as a TES task: the document, and the fingerprint by which a restarted head knows it again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

CONTENT_LIMIT = 100 * 1024  # TES 1.1: implementations must take 128 KiB of inline content, and need take no more

RUN_TAG = "wesgate-run"
CALL_TAG = "wesgate-call"
ATTEMPT_TAG = "wesgate-attempt"
FINGERPRINT_TAG = "wesgate-command"
HEAD_TAG = "wesgate-head"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a task's runtime section asks for, as far as TES can say it."""

    image: str
    env: Mapping[str, str] = field(default_factory=dict)
    cpu: int | None = None
    memory_bytes: int | None = None
    disk_gb: float | None = None
    preemptible: bool = False
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One attempt of one WDL call.

    `call` is the path of the call below the head's attempt directory: `call-align/call-index-0`. `host_dir` is its
    directory on the host and `container_dir` the same inside the container. `inputs` maps host paths to container
    paths, directories with a trailing slash. `written` are host paths of inputs that WDL itself wrote (`write_lines`
    and its kin) under names of chance. `copied` says that the inputs lie in the working directory already.
    """

    run_id: str
    head_attempt: str
    name: str
    call: str
    attempt: int
    command: str
    host_dir: str
    container_dir: str
    work: str
    stdout: str
    stderr: str
    asked: Asked
    inputs: Mapping[str, str] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    copied: bool = False

    @property
    def host_paths(self) -> bool:
        return self.host_dir == self.container_dir

    @property
    def script(self) -> Path:
        """Where the command lies on the host."""
        return Path(self.host_dir) / "command"


def fingerprint(call: CallFacts) -> str:
    """SHA-256 of all that decides what the task does. Names of chance and the head's attempt are not part of it."""
    command, inputs = call.command, []
    for host, inside in sorted(call.inputs.items()):
        if host in call.written:
            stand_in = "written:" + hashlib.sha256(Path(host).read_bytes()).hexdigest()
            command = command.replace(inside, stand_in)
            inputs.append(["", stand_in])
        else:
            # miniwdl names an output by a link below the head's own directory; the file behind it stays.
            inputs.append([os.path.realpath(host), inside])
    text = json.dumps(
        [command, sorted(inputs), call.copied, _resources(call.asked), call.asked.image, dict(call.asked.env)]
    )
    return hashlib.sha256(text.replace(call.host_dir, "<call>").encode()).hexdigest()


def create_key(call: CallFacts, digest: str) -> str:
    """The key under which creating this task may be repeated. Each head has its own: what an earlier one created is
    adopted, and what was canceled with an earlier one must be created anew."""
    parts = "\0".join((call.call, str(call.attempt), digest, call.head_attempt))
    return f"{call.run_id}/{hashlib.sha256(parts.encode()).hexdigest()[:40]}"


def task_document(call: CallFacts, digest: str) -> dict[str, Any]:
    """The TES 1.1 task, without anything that TES would have to be told twice."""
    return {
        "name": call.name,
        "inputs": [_script(call), *_mounted(call)],
        "outputs": [
            _output(f"{_inside(call, call.work, 'work')}", call.work, "DIRECTORY"),
            _output(_inside(call, call.stdout, "stdout.txt"), call.stdout, "FILE"),
            _output(_inside(call, call.stderr, "stderr.txt"), call.stderr, "FILE"),
        ],
        "executors": [
            {
                "image": call.asked.image,
                "command": ["/bin/bash", f"{call.container_dir}/command"],
                "workdir": _inside(call, call.work, "work"),
                "stdout": _inside(call, call.stdout, "stdout.txt"),
                "stderr": _inside(call, call.stderr, "stderr.txt"),
                "env": dict(call.asked.env),
            }
        ],
        # WDL's command is a whole one: an image's entry point would get it as arguments.
        "resources": {**_resources(call.asked), "backend_parameters": {"image_entrypoint": "false"}},
        "tags": {
            RUN_TAG: call.run_id,
            CALL_TAG: call.call,
            ATTEMPT_TAG: str(call.attempt),
            FINGERPRINT_TAG: digest,
            HEAD_TAG: call.head_attempt,
        },
    }


def needs_script_file(call: CallFacts) -> bool:
    """Whether the command travels as a file, because it is long or because the task sees the host's own paths."""
    return call.host_paths or len(call.command.encode()) > CONTENT_LIMIT


def _inside(call: CallFacts, host: str, name: str) -> str:
    return host if call.host_paths else f"{call.container_dir}/{name}"


def _script(call: CallFacts) -> dict[str, Any]:
    path = f"{call.container_dir}/command"
    if needs_script_file(call):
        return _input(str(call.script), path)
    return {"path": path, "content": call.command, "type": "FILE"}


def _mounted(call: CallFacts) -> list[dict[str, Any]]:
    return [] if call.copied else [_input(resolved(host), inside) for host, inside in sorted(call.inputs.items())]


def resolved(host: str) -> str:
    """An input's path without links, as TES compares it with its roots; a directory's slash at the end stays."""
    return os.path.realpath(host) + "/" * host.endswith("/")


def _input(host: str, inside: str) -> dict[str, Any]:
    kind = "DIRECTORY" if host.endswith("/") else "FILE"
    return {"url": file_url(host), "path": inside.rstrip("/"), "type": kind}


def _output(inside: str, host: str, kind: str) -> dict[str, Any]:
    return {"path": inside, "url": file_url(host), "type": kind}


def file_url(host: str) -> str:
    return "file://" + quote(host.rstrip("/"))


def _resources(asked: Asked) -> dict[str, Any]:
    wanted = {
        "cpu_cores": asked.cpu,
        "ram_gb": asked.memory_bytes and asked.memory_bytes / 1e9,
        "disk_gb": asked.disk_gb,
        "preemptible": asked.preemptible or None,
        "zones": list(asked.zones) or None,
    }
    return {name: value for name, value in wanted.items() if value is not None}
