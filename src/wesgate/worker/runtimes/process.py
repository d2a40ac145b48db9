"""Run steps as programs of this host, ignoring their images.

Three ways, from most to least closed: `bubblewrap` and `namespace` show a step the file system that `sandbox.py` plans,
`plain` shows it the host's own. Memory is not limited in any of them: a limit on address space would break programs
that reserve much and use little, and cgroups are not ours to make.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from wesgate.core.spec import Step
from wesgate.worker.files.mounts import Mount, covering
from wesgate.worker.layout import tail
from wesgate.worker.runtimes.leftovers import MARK, kill_marked
from wesgate.worker.runtimes.meters import Meter, Processes, adopt_orphans, unescaped
from wesgate.worker.runtimes.runtime import (
    KILLED,
    Ended,
    Launch,
    Task,
    check_environment,
    exit_code,
    last_line,
    runs_head,
)
from wesgate.worker.runtimes.sandbox import Directory, Entry, Link, look, skeleton
from wesgate.worker.warm import Standby

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

GPU_DEVICES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")
"""What programs need besides the device of each GPU, which is /dev/nvidia<number>."""

# Flags that a mount in a user namespace inherits and may not lose when it is made read-only.
LOCKED_FLAGS = {
    os.ST_NOSUID: "nosuid", os.ST_NODEV: "nodev", os.ST_NOEXEC: "noexec",
    os.ST_NOATIME: "noatime", os.ST_NODIRATIME: "nodiratime", os.ST_RELATIME: "relatime",
} if hasattr(os, "ST_RELATIME") else {}  # fmt: skip

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

UNSHARE = (
    "unshare", "--user", "--map-root-user", "--mount", "--propagation", "private", "--pid", "--ipc", "--uts", "--fork",
    "--kill-child",
)  # fmt: skip

KERNEL_KNOBS = ("sys", "sysrq-trigger", "irq", "bus", "fs")
"""What below /proc changes the whole host. The kernel lets root write there by its user id alone: a step of a service
that runs as root is root there too, with all capabilities gone. The list is runc's."""

ENTERED = '"exit-code"'
"""What the marker file holds once a step's own command was reached, in bubblewrap's words."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Without a sandbox: the host's own paths, under the worker's own user. Nothing keeps a step from other files.
    `standby` is there for a head, which has one step."""

    task: Task
    standby: Standby | None = None

    def prepare(self) -> Sequence[str]:
        """The mounts are shown as links, by whoever made the plan."""
        return ()

    def launch(self, number: int, step: Step, *, stdin: bool) -> Launch:
        del number, stdin
        tmp = str(self.task.attempt.tmp)
        return Launch(
            step.command,
            step_environment(self.task, step, tmp),
            step.workdir or tmp,
            dies_by=SIGKILL,
            standby=self.standby,
        )

    def meter(self, number: int) -> Meter:
        del number
        return Processes()

    def send(self, number: int, process_group: int, signal: int) -> None:
        del number
        send_group(process_group, signal)

    def ended(self, number: int, returncode: int) -> Ended:
        del number
        return Ended(exit_code(returncode), note=_killed(returncode))

    def clear(self, number: int, process_group: int) -> None:
        del number
        send_group(process_group, SIGKILL)
        kill_marked(self.task.order.key)


@dataclass(frozen=True, slots=True)
class Sandboxed:
    """In namespaces of its own, by `bubblewrap` or, without it, by util-linux' `unshare` and a script."""

    task: Task
    with_bubblewrap: bool

    def prepare(self) -> Sequence[str]:
        (self.task.attempt.directory / "root").mkdir(exist_ok=True)
        (self.task.attempt.directory / "empty").mkdir(exist_ok=True)
        return ()

    def launch(self, number: int, step: Step, *, stdin: bool) -> Launch:
        del stdin
        environment = step_environment(self.task, step, "/tmp")  # noqa: S108  # the sandbox's own
        home = self.task.attempt.directory
        visible = [*self.task.order.limits.visible, *resolver_places()]
        entries = skeleton(self.task.mounts, visible, self._hidden(), str(home / "empty"), look)
        self._marker(number).write_bytes(b"")
        workdir = step.workdir or "/tmp"  # noqa: S108  # the sandbox's own
        if self.with_bubblewrap:
            return self._bubblewrap(number, step, bubblewrap_options(entries, environment, workdir, self.task.gpus))
        script = home / f"sandbox-{number}.sh"
        marker = str(self._marker(number))
        private_file(script, script_text(entries, environment, workdir, str(home), marker, self.task.gpus))
        return Launch(self._unshare(script, step), self._outer(), "/", dies_by=SIGKILL)

    def meter(self, number: int) -> Meter:
        if not self.with_bubblewrap:
            return Processes()
        # bwrap ends without waiting for the first process inside, which knows what the step used.
        adopt_orphans()
        return Processes(lambda: self._inner_group(number))

    def send(self, number: int, process_group: int, signal: int) -> None:
        inner = self._inner_group(number) if self.with_bubblewrap else None
        if inner is not None:
            send_group(inner, signal)
        # bubblewrap itself would end at once, and everything in it, without a grace.
        if inner is None or signal == SIGKILL:
            send_group(process_group, signal)

    def ended(self, number: int, returncode: int) -> Ended:
        complaint = last_line(tail(self.task.attempt.stderr(number)))
        if returncode >= 0 and ENTERED not in self._marker(number).read_text():
            return Ended(returncode, problem=f"the sandbox could not be set up: {complaint}")
        return Ended(exit_code(returncode), note=_killed(returncode))

    def clear(self, number: int, process_group: int) -> None:
        del process_group  # whatever is left of it died with the first process of its namespace
        for name in (f"sandbox-{number}.sh", f"options-{number}", self._marker(number).name):
            (self.task.attempt.directory / name).unlink(missing_ok=True)

    def _hidden(self) -> list[str]:
        order = self.task.order
        return [order.files_root, *order.limits.private, *order.limits.hidden]

    def _inner_group(self, number: int) -> int | None:
        with suppress(OSError):
            told = re.search(r'"child-pid": *(\d+)', self._marker(number).read_text())
            return int(told[1]) if told else None
        return None

    def _marker(self, number: int) -> Path:
        return self.task.attempt.directory / f"entered-{number}"

    def _bubblewrap(self, number: int, step: Step, options: Sequence[str]) -> Launch:
        # By a file, since an environment in an argument list can be read by every user of the host.
        path = self.task.attempt.directory / f"options-{number}"
        private_file(path, "".join(option + "\0" for option in options))
        given = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.open(self._marker(number), os.O_WRONLY | os.O_CLOEXEC)
        argv = (
            "bwrap", "--args", str(given), "--json-status-fd", str(status), *self._network("--unshare-net"),
            "--", "/bin/sh", "-c", 'exec "$@"', "sh", *step.command,
        )  # fmt: skip
        return Launch(argv, self._outer(), "/", files=(given, status))

    def _outer(self) -> dict[str, str]:
        # Should the worker die before the sandbox's own process is armed to die with it, it is found by its mark.
        return {"PATH": SYSTEM_PATH, MARK: self.task.order.key}

    def _unshare(self, script: Path, step: Step) -> tuple[str, ...]:
        return (*UNSHARE, *self._network("--net"), "/bin/sh", str(script), *step.command)

    def _network(self, flag: str) -> tuple[str, ...]:
        return () if self.task.order.limits.network else (flag,)


def step_environment(task: Task, step: Step, home: str) -> dict[str, str]:
    """What a step on this host finds in its environment: nothing of the service's but where programs and
    proxies are."""
    check_environment(step.env)
    own = {"PATH": SYSTEM_PATH, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
    return own | dict(task.order.environment) | dict(step.env) | visible_gpus(task) | {MARK: task.order.key}


def visible_gpus(task: Task) -> dict[str, str]:
    """What tells a step's programs which GPUs are theirs, on a machine that has some; a step that asked for none is
    told so. Without a sandbox it is no more than that: told."""
    if not task.order.limits.gpus or runs_head(task.order):
        return {}
    numbers = ",".join(map(str, task.gpus))
    return {"CUDA_VISIBLE_DEVICES": numbers, "NVIDIA_VISIBLE_DEVICES": numbers or "void"}


def gpu_devices(gpus: Sequence[int], folder: str = "/dev") -> list[str]:
    """The devices that a step with these GPUs needs, those that there are."""
    names = [*(f"nvidia{number}" for number in gpus), *GPU_DEVICES] if gpus else []
    return [f"{folder}/{name}" for name in names if Path(folder, name).exists()]


def resolver_places() -> list[str]:
    """Where the names of hosts are looked up, if /etc only links to it."""
    real = posixpath.dirname(os.path.realpath("/etc/resolv.conf"))
    return [real] if real.startswith("/run/") else []


def bubblewrap_options(
    entries: Sequence[Entry], environment: Mapping[str, str], workdir: str, gpus: Sequence[int] = ()
) -> list[str]:
    """bwrap's options for a plan; see bwrap(1)."""
    options = [
        "--unshare-user", "--cap-drop", "ALL", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session",
        "--die-with-parent", "--proc", "/proc", "--dev", "/dev",
        *(word for name in KERNEL_KNOBS for word in ("--ro-bind-try", f"/proc/{name}", f"/proc/{name}")),
        *(word for device in gpu_devices(gpus) for word in ("--dev-bind", device, device)),
    ]  # fmt: skip
    for entry in entries:
        match entry:
            case Directory(path):
                options += ["--dir", path]
            case Link(path, target):
                options += ["--symlink", target, path]
            case Mount():
                options += ["--bind" if entry.writable else "--ro-bind", entry.source, entry.target]
    options += ["--remount-ro", "/", "--chdir", workdir]
    for name, value in environment.items():
        options += ["--setenv", name, value]
    return options


def script_text(
    entries: Sequence[Entry],
    environment: Mapping[str, str],
    workdir: str,
    home: str,
    marker: str,
    gpus: Sequence[int] = (),
) -> str:
    """A script that builds the planned root in namespaces of its own and runs its arguments there."""
    q = shlex.quote
    exports, odd = _exports(environment)
    inner = f'. /.environment; cd {q(workdir)} || exit 126; ( exec {odd}"$@" ); exit $?'
    return "\n".join(
        [
            "set -eu",
            "PATH=$PATH:/usr/sbin:/sbin",  # pivot_root is there, which an ordinary user's PATH leaves out
            "umask 022",
            f"cd {q(home)}",
            "mount -t tmpfs -o mode=755 tmpfs root",
            "cd root",
            *_script_lines(entries),
            *_kernel_lines(),
            *(f": > .{device}; mount --bind {device} .{device}" for device in gpu_devices(gpus)),
            f"(umask 077; printf %s {q(exports)} > .environment)",
            "mkdir -p .old",
            "pivot_root . .old",
            "cd /",
            f"printf %s {q(ENTERED)} > {q('/.old' + marker)}",
            "umount -l /.old",
            "rmdir /.old",
            "mount -o remount,bind,ro /",
            "exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs /bin/sh -c " + q(inner) + ' sh "$@"',
            "",
        ]
    )


def _exports(environment: Mapping[str, str]) -> tuple[str, str]:
    # A shell exports only what it could name itself; `env` sets the rest.
    plain = {name: value for name, value in environment.items() if name.isidentifier() and name.isascii()}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plain.items())
    odd = [shlex.quote(f"{name}={value}") for name, value in environment.items() if name not in plain]
    return exports, f"env {' '.join(odd)} " if odd else ""


def _script_lines(entries: Sequence[Entry]) -> Iterator[str]:
    made = {"/"}
    for number, entry in enumerate(entries):
        inner = [other for other in entries[:number] if isinstance(other, Mount)]
        match entry:
            case Directory(path):
                yield from _folder(path, made)
            case Link(path, target):
                yield from _folder(posixpath.dirname(path), made)
                yield f"ln -s {shlex.quote(target)} {_here(path)}"
            case Mount():
                if covering(inner, entry.target) is None:
                    yield from _point(entry, made)
                yield from _bind(entry)


def _here(path: str) -> str:
    return shlex.quote("." + path)


def _folder(path: str, made: set[str]) -> Iterator[str]:
    if path not in made:
        made.add(path)
        yield f"mkdir -p {_here(path)}"


def _point(mount: Mount, made: set[str]) -> Iterator[str]:
    if mount.directory:
        yield from _folder(mount.target, made)
    else:
        yield from _folder(posixpath.dirname(mount.target), made)
        yield f": >> {_here(mount.target)}"


def _bind(mount: Mount) -> Iterator[str]:
    inner = [] if mount.writable else _submounts(mount)
    source = shlex.quote(mount.source)
    if mount.writable or inner:
        yield f"mount --rbind {source} {_here(mount.target)}"
    if not mount.writable and not inner:
        # One program instead of two: util-linux makes the mount and then makes it read-only.
        yield f"mount -o {_flags('bind', mount.source)} {source} {_here(mount.target)}"
    for below in ("", *inner) if inner else ():
        yield f"mount -o {_flags('remount,bind', mount.source + below)} {_here(mount.target + below)}"


def _flags(how: str, path: str) -> str:
    return ",".join([how, "ro", *_locked(path)])


def _submounts(mount: Mount) -> list[str]:
    """Where other file systems are mounted below the source: each must be made read-only for itself."""
    if not mount.directory:
        return []
    with suppress(OSError):
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        points = [unescaped(line.split(" ")[4]) for line in lines]
        prefix = mount.source.rstrip("/") + "/"
        return [point[len(prefix) - 1 :] for point in points if point.startswith(prefix)]
    return []


def _locked(path: str) -> list[str]:
    with suppress(OSError):
        found = os.statvfs(path).f_flag
        return [name for flag, name in LOCKED_FLAGS.items() if found & flag]
    return []


def _kernel_lines() -> Iterator[str]:
    # A container's masked /proc cannot be mounted anew; its own is shown then, which hides no processes.
    yield "mkdir -p proc dev; mount -t proc proc proc 2>/dev/null || mount --rbind /proc proc"
    for name in KERNEL_KNOBS:
        yield f"[ ! -e proc/{name} ] || mount -o bind,ro,nosuid,nodev,noexec proc/{name} proc/{name}"
    yield '[ ! -w proc/sys/kernel/hostname ] || { echo "/proc/sys could not be made read-only" >&2; exit 1; }'
    yield "mount -t tmpfs -o mode=755 tmpfs dev; mkdir dev/shm dev/pts; chmod 1777 dev/shm"
    for name in DEVICES:
        # Read-only keeps a step that is the host's root from changing the device's mode for everybody.
        yield f": > dev/{name}; mount -o {_flags('bind', '/dev/' + name)} /dev/{name} dev/{name}"
    yield "ln -s /proc/self/fd dev/fd; ln -s fd/0 dev/stdin; ln -s fd/1 dev/stdout; ln -s fd/2 dev/stderr"
    yield "mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts 2>/dev/null || true; ln -s pts/ptmx dev/ptmx"


def private_file(path: Path, text: str) -> None:
    """Write a file that only this user can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def send_group(process_group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process_group, number)


def _killed(returncode: int) -> str:
    if returncode in (-SIGKILL, KILLED):
        return "killed (SIGKILL), probably because the machine ran out of memory"
    return ""
