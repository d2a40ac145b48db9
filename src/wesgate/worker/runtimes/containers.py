"""Run steps in containers, through the command line that podman and docker share."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from wesgate.core.spec import Resources, Step
from wesgate.worker.faults import Fault
from wesgate.worker.files.mounts import Mount, writable_directories
from wesgate.worker.interrupts import Interrupts
from wesgate.worker.layout import Limits, tail
from wesgate.worker.runtimes.leftovers import MARK, kill_marked
from wesgate.worker.runtimes.meters import CGROUPS, Container, Meter
from wesgate.worker.runtimes.runtime import KILLED, Ended, Launch, Task, check_environment, last_line
from wesgate.worker.runtimes.users import KEEP_ID, has_others, is_root, keep_id, open_to_all, show_to_all

LABEL = "wesgate.key"

CLIENT_GRACE_S = 1.0
"""A podman that is killed between the start of a container and its record leaves one that it knows nothing of. Asked to
end, it does so before or after that."""
CALL_TIMEOUT_S = 120.0

# runc and crun refuse a container with less; it could not start.
LEAST_MEMORY_BYTES = 6 * 1024 * 1024

# Fixed for every task, whatever it asks for. label=disable: bind-mounted files of the host keep their SELinux labels,
# which a confined container may not read.
CONFINED = (
    "--log-driver=none", "--cap-drop=all", "--security-opt=no-new-privileges", "--security-opt=label=disable",
)  # fmt: skip


# Where the group of a container of docker's is, and of podman's behind docker's API; see
# https://docs.docker.com/engine/containers/runmetrics/
DOCKER_GROUPS = (
    "docker/{}", "system.slice/docker-{}.scope", "libpod_parent/libpod-{}", "machine.slice/libpod-{}.scope",
    "user.slice/user-{uid}.slice/user@{uid}.service/user.slice/docker-{}.scope",
)  # fmt: skip

# What podman, docker, their libraries, and the programs that they start read; and the mark of their processes.
CLIENTS_OWN = re.compile(
    r"(_?CONTAINERS?|DOCKER|BUILDAH|PODMAN|XDG|DBUS|LD|LC|LISTEN|NOTIFY|SYSTEMD|NETAVARK)_|"
    r"(PATH|HOME|USER|LOGNAME|SHELL|LANG|TZ|TMPDIR|TERM|HOSTNAME|GODEBUG|GOGC|GOMAXPROCS|GOMEMLIMIT|GOTRACEBACK|"
    r"GLIBC_TUNABLES|WESGATE_KEY|REGISTRY_AUTH_FILE|STORAGE_DRIVER|STORAGE_OPTS|SSL_CERT_FILE|SSL_CERT_DIR|SSH_AUTH_SOCK|"
    r"(HTTPS?|FTP|ALL|NO)_PROXY)\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Containers:
    """`program` is podman or docker. The client inherits the worker's environment, never the step's. It dies with the
    worker, or by its mark: one that was still starting would make a container after everything was cleared away."""

    program: str
    task: Task
    interrupts: Interrupts
    users: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By image: the flags that say as whom its containers run."""

    def prepare(self) -> Sequence[str]:
        notes: list[str] = []
        for image in dict.fromkeys(step.image for step in self.task.order.spec.steps):
            if not image:
                raise Fault("a step names no image, and this service has no default image")
            if image.startswith("-"):
                raise Fault(f"{image!r} is not the name of an image")
            user = self._user_of(image)
            if user is None:
                self._pull(image)
                user = self._user_of(image) or ""
            self.users[image], note = self._run_as(user)
            notes += [f"image {image}: {note}"] if note else []
        if any(flags == () for flags in self.users.values()):
            self._open_to_all()
        return notes

    def launch(self, number: int, step: Step, *, stdin: bool) -> Launch:
        order, attempt = self.task.order, self.task.attempt
        environment = attempt.directory / f"env-{number}"
        lines, odd = split_environment(step.env, self.program)
        environment.touch(mode=0o600)
        environment.write_text(lines, encoding="utf-8", errors="surrogateescape")
        argv = (
            self.program, "run", "--name", attempt.container(number), "--label", f"{LABEL}={order.key}",
            "--pull=never", *CONFINED, *self.users.get(step.image, ()), *self._identity_file(number),
            *limits(order.spec.resources, order.limits), *devices(self.program, self.task.gpus),
            "--env-file", str(environment), *(f"--env={name}" for name in odd),
            *(flag for mount in self.task.mounts for flag in ("--mount", mount_option(mount))),
            *(("--workdir", step.workdir) if step.workdir else ()),
            *(("--interactive",) if stdin else ()),
            *(() if order.spec.policy.image_entrypoint else ("--entrypoint", "")), step.image, *step.command,
        )  # fmt: skip
        return Launch(argv, dies_by=SIGTERM, added={**odd, MARK: order.key})

    def meter(self, number: int) -> Meter:
        return Container(lambda: self._first_process(number))

    def send(self, number: int, process_group: int, signal: int) -> None:
        del process_group  # the client's; signals go to the container
        # The kernel drops what the first process of a container does not catch: waiting for it would be in vain.
        in_vain = signal == SIGTERM and not self._catches_term(number)
        self._call("kill", "--signal", str(int(SIGKILL if in_vain else signal)), self.task.attempt.container(number))

    def ended(self, number: int, returncode: int) -> Ended:
        if returncode == 0 and self.program == "podman":
            # It says so of the container alone: podman need not be asked again. The meter knows what was killed in it.
            return Ended(0)
        state = self._state(number)
        if state.get("Running"):
            # Only the client ended: it was killed, or lost its connection. The container goes on.
            self._wait(number)
            state = self._state(number)
        return read_end(state, returncode, last_line(tail(self.task.attempt.stderr(number))), self._memory())

    def clear(self, number: int, process_group: int) -> None:
        del process_group
        kill_marked(self.task.order.key, CLIENT_GRACE_S)
        remove(self.program, [self.task.attempt.container(number)], None)
        for name in (f"env-{number}", self._identity(number).name):
            (self.task.attempt.directory / name).unlink(missing_ok=True)

    def _memory(self) -> int | None:
        return memory_bytes(self.task.order.spec.resources) if self.task.order.limits.memory else None

    def _identity(self, number: int) -> Path:
        return self.task.attempt.directory / f"container-{number}"

    def _identity_file(self, number: int) -> tuple[str, str]:
        return ("--pidfile" if self.program == "podman" else "--cidfile", str(self._identity(number)))

    def _first_process(self, number: int) -> int | None:
        """The process that the container begins with, on this host; None as long as there is none to be seen."""
        try:
            identity = self._identity(number).read_text().strip()
        except OSError:
            return None
        if self.program == "podman":
            return int(identity) if identity.isdigit() else None
        return first_in_group(identity) if identity else None

    def _user_of(self, image: str) -> str | None:
        """The user that the image names, empty if it names none; None if the image is not here."""
        reply = self._call("image", "inspect", "--format", "{{json .Config}}", image)
        if reply.returncode != 0:
            return None
        try:
            config = json.loads(reply.stdout)
        except ValueError:
            return ""
        return str(config.get("User") or "") if isinstance(config, dict) else ""

    def _run_as(self, user: str) -> tuple[tuple[str, ...], str]:
        """The flags for an image's user, none to leave it as it is, and what there is to say about it."""
        if is_root(user):
            return self._as_the_service(), ""
        if self.program == "docker" or os.getuid() == 0:
            return (), ""
        flags = keep_id(user)
        if flags is None:
            reason = "only a number can be mapped here"
        elif not has_others(os.getuid()):
            reason = "this service's user has no other user ids, see subuid(5)"
        elif self._version() < KEEP_ID:
            reason = "that needs podman 4.3 or newer"
        else:
            return flags, ""
        return self._as_the_service(), f"steps run as root of the container, not as its user {user!r:.80}: {reason}"

    def _as_the_service(self) -> tuple[str, ...]:
        # What steps write must belong to whom the worker is: in podman that is the container's root, with no more
        # rights than the worker has; docker's daemon maps nobody, but for one that itself runs without root.
        uid, gid = os.getuid(), os.getgid()
        is_mapped = self.program == "podman" or (uid != 0 and self._is_rootless())
        return ("--user", "0:0" if is_mapped else f"{uid}:{gid}")

    def _version(self) -> tuple[int, ...]:
        found = re.search(rb"(\d+)\.(\d+)", self._call("--version").stdout)
        return tuple(map(int, found.groups())) if found else (0, 0)

    def _open_to_all(self) -> None:
        """What a user of the image's own writes and reads, the service lets everybody write and read: nobody else of
        the host gets into the owner's directory."""
        owned = str(self.task.attempt.directory.parent)
        paths = [path for path, _ in writable_directories(self.task.order.spec)]
        open_to_all(self.task.mounts, paths, os.path.realpath(owned))
        show_to_all(self.task.attempt.inputs)

    def _is_rootless(self) -> bool:
        return b"name=rootless" in self._call("info", "--format", "{{.SecurityOptions}}").stdout

    def _pull(self, image: str) -> None:
        log = self.task.attempt.directory / "pull.log"
        with log.open("wb") as out:
            child = subprocess.Popen(
                [self.program, "pull", "--quiet", image], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            while not self.interrupts.wait_for(child):
                self.interrupts.check()
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode != 0:
            raise Fault(f"image {image} is not on this machine and cannot be pulled: {last_line(tail(log))}")

    def _catches_term(self, number: int) -> bool:
        pid = self._state(number).get("Pid")
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return True
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), "0")
        return bool(int(caught, 16) & 1 << SIGTERM - 1)

    def _wait(self, number: int) -> None:
        child = subprocess.Popen(
            [self.program, "wait", self.task.attempt.container(number)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if not self.interrupts.wait_for(child):
            child.kill()
            self.send(number, 0, SIGKILL)
        child.wait()

    def _state(self, number: int) -> Mapping[str, Any]:
        reply = self._call(
            "inspect", "--type=container", "--format", "{{json .State}}", self.task.attempt.container(number)
        )
        try:
            state = json.loads(reply.stdout)
        except ValueError:
            return {}
        return state if isinstance(state, dict) else {}

    def _call(self, *args: str) -> subprocess.CompletedProcess[bytes]:
        return _run([self.program, *args], None)


def read_end(state: Mapping[str, Any], returncode: int, complaint: str, memory: int | None) -> Ended:
    """How a container ended, by its own record: the client's 125 to 127 may be the step's or the client's."""
    started = str(state.get("StartedAt", "0001"))
    if not state or started.startswith("0001"):
        if returncode in (126, 127):
            return Ended(returncode, note=f"the command cannot be run: {complaint}")
        return Ended(returncode, problem=f"the container could not be started: {complaint}")
    code = int(state.get("ExitCode", returncode))
    limit = f"limit {memory} bytes" if memory else "limit of the machine"
    if code == KILLED and (state.get("OOMKilled") or memory is not None):
        return Ended(code, note=f"killed: out of memory ({limit})")
    if state.get("OOMKilled"):
        return Ended(code, note=f"a process of it was killed: out of memory ({limit})")
    if code == KILLED:
        return Ended(code, note="killed (SIGKILL), probably because the machine ran out of memory")
    return Ended(code)


def memory_bytes(resources: Resources) -> int | None:
    """The memory limit; None without one."""
    return max(LEAST_MEMORY_BYTES, int(resources.ram_gb * 1e9)) if resources.ram_gb else None


def limits(resources: Resources, limits: Limits) -> list[str]:
    """What a container may use of the machine. Asking for more processors than there are is refused by docker."""
    flags = [] if limits.network else ["--network=none"]
    if not limits.memory:
        return flags
    flags.append(f"--pids-limit={limits.pids}")
    memory = memory_bytes(resources)
    if memory is not None:
        flags.append(f"--memory={memory}")
    if resources.cpu_cores:
        flags.append(f"--cpus={min(resources.cpu_cores, float(os.cpu_count() or 1)):g}")
    return flags


def devices(program: str, gpus: Sequence[int]) -> list[str]:
    """The flags that give a container these GPUs: podman by their names in CDI, docker by its own. See
    https://github.com/cncf-tags/container-device-interface and https://docs.docker.com/engine/containers/gpu/"""
    if not gpus:
        return []
    if program == "podman":
        return [f"--device=nvidia.com/gpu={number}" for number in gpus]
    # The value is read as CSV: without the quotes all after the comma would be another field.
    return [f'--gpus="device={",".join(map(str, gpus))}"']


def first_in_group(container: str, root: str = CGROUPS) -> int | None:
    """The first process of this container of docker's, by its group."""
    for base in (f"{root}/memory", root):
        for place in DOCKER_GROUPS:
            try:
                listed = Path(base, place.format(container, uid=os.getuid()), "cgroup.procs").read_text().split()
            except OSError:
                continue
            return next((int(pid) for pid in listed if is_first(pid)), None)
    return None


def is_first(pid: str) -> bool:
    """Whether this is the first process of a namespace. What sets the container up is in its group too, for a
    moment."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return re.search(r"^NSpid:\t\d+\t.*\b1$", status, re.MULTILINE) is not None


def mount_option(mount: Mount) -> str:
    """The value of `--mount`, which both clients read as one CSV line: any character but a line break can be quoted."""
    text = io.StringIO()
    fields = [
        "type=bind",
        f"source={mount.source}",
        f"target={mount.target}",
        *([] if mount.writable else ["readonly"]),
    ]
    if any("\n" in field or "\r" in field for field in fields):
        raise Fault(f"a container cannot show {mount.target!r}: its path has a line break")
    csv.writer(text, lineterminator="").writerow(fields)
    return text.getvalue()


def split_environment(environment: Mapping[str, str], program: str) -> tuple[str, dict[str, str]]:
    """An environment as the lines of a file, and those of its variables that such a file cannot hold since their values
    have line breaks: the client takes them from its own environment. Other users of the host can read neither."""
    check_environment(environment)
    broken = {name: value for name, value in environment.items() if "\n" in value or "\r" in value}
    for name in broken:
        if CLIENTS_OWN.match(name):
            raise Fault(
                f"the environment variable {name} has a line break in its value, and {program} itself reads a variable "
                "of this name: give it another name"
            )
    lines = [f"{name}={value}\n" for name, value in environment.items() if name not in broken]
    return "".join(lines), broken


def remove(
    program: str, names: list[str], environment: Mapping[str, str] | None, timeout_s: float = CALL_TIMEOUT_S
) -> None:
    """Stop and remove these containers, those that are there, with the volumes that their images asked for; a `Fault`
    if one may be left. Safe to repeat."""
    flags = ("--time=0", "--ignore") if program == "podman" else ()
    done = _run([program, "rm", "--force", "--volumes", *flags, *names], environment, timeout_s)
    complaints = done.stderr.decode(errors="replace").splitlines()
    # Docker before 20.10 calls it a failure that a container is not there.
    gone = complaints and all("no such container" in line.lower() for line in complaints)
    if done.returncode != 0 and not gone:
        complaint = last_line("\n".join(complaints)) or f"exit code {done.returncode}"
        raise Fault(f"{program} rm failed: {complaint}; see that {program} works on this machine")


def _run(
    argv: list[str], environment: Mapping[str, str] | None, timeout_s: float = CALL_TIMEOUT_S
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise Fault(f"{argv[0]} {argv[1]} gave no answer within {timeout_s:.0f} s") from error
    except FileNotFoundError as error:
        raise Fault(f"{argv[0]} is not installed on this machine any more") from error
