"""Find out which runtimes work on this machine, by trying them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from wesgate.worker.files.mounts import Mount
from wesgate.worker.runtimes.containers import CONFINED
from wesgate.worker.runtimes.process import SYSTEM_PATH, UNSHARE, bubblewrap_options, private_file, script_text
from wesgate.worker.runtimes.runtime import last_line
from wesgate.worker.runtimes.sandbox import PROGRAM_PLACES, look, skeleton

PROBE_TIMEOUT_S = 20.0

RUNTIMES = ("podman", "docker", "process:bubblewrap", "process:namespace", "process:plain")
"""From most to least wanted."""

IGNORED = re.compile(r"limits are not supported|limit(ation)? discarded", re.IGNORECASE)
"""What podman (rootless, on cgroups v1) and docker's daemon say, in the stream of the container, when they go on
without them."""

NOT_OURS = "{ echo the mount program is not the one of util-linux >&2; exit 1; }"
"""Another one may leave a mount writable that was to be read-only, and say nothing."""

LIMITS = ("--pids-limit=100", "--memory=64000000", "--cpus=1")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a runtime works; `reason` says why not. `limits` says whether it can limit memory and processors."""

    runtime: str
    works: bool
    reason: str = ""
    limits: bool = True


Try = Callable[[Sequence[str]], str | None]
"""Run a command; None if it went well, else why not."""


def trying(environment: Mapping[str, str], timeout_s: float = PROBE_TIMEOUT_S) -> Try:
    """Tries with this environment, each bounded in time."""

    def run(argv: Sequence[str]) -> str | None:
        if shutil.which(argv[0], path=environment.get("PATH")) is None:
            return f"{argv[0]} is not installed"
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=timeout_s, check=False, env=environment,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"`{' '.join(argv[:2])}` gave no answer within {timeout_s:.0f} s"
        except OSError as error:
            return f"{argv[0]} cannot be run: {error.strerror}"
        if done.returncode == 0 and not IGNORED.search(done.stderr):
            return None
        return last_line(done.stderr) or f"`{' '.join(argv[:2])}` exited with code {done.returncode}"

    return run


def probe(runtime: str, attempt: Try, *, network: bool = True) -> Verdict:
    """Whether this runtime works here; `network` says whether steps are to reach it."""
    match runtime:
        case "podman":
            return _podman(attempt, network=network)
        case "docker":
            return _docker(attempt, network=network)
        case "process:bubblewrap":
            return _linux(runtime, attempt, bubblewrap_trial)
        case "process:namespace":
            return _linux(runtime, attempt, namespace_trial)
        case "process:plain":
            return Verdict(runtime, works=True, limits=False)
        case _:
            return Verdict(runtime, works=False, reason=f"there is no runtime {runtime}; use {', '.join(RUNTIMES)}")


def choose(wanted: str, attempt: Try, *, network: bool = True) -> tuple[Verdict | None, list[Verdict]]:
    """The first runtime that works among those wanted (`auto`, `process`, or one by name), and those tried before it.

    Plain is last in `process` and `auto` and always works."""
    rejected: list[Verdict] = []
    for runtime in candidates(wanted):
        verdict = probe(runtime, attempt, network=network)
        if verdict.works:
            return verdict, rejected
        rejected.append(verdict)
    return None, rejected


def candidates(wanted: str) -> tuple[str, ...]:
    if wanted == "auto":
        return RUNTIMES
    if wanted == "process":
        return tuple(runtime for runtime in RUNTIMES if runtime.startswith("process:"))
    return (wanted,)


def bubblewrap_trial(home: str) -> list[str]:
    """A program in the sandbox that steps get."""
    entries = skeleton([Mount(home, "/tmp", writable=True)], (), (), home, look)  # noqa: S108  # the sandbox's own
    return ["bwrap", *bubblewrap_options(entries, {"PATH": SYSTEM_PATH}, "/"), "--", "/bin/sh", "-c", "exec true"]


def namespace_trial(home: str) -> list[str]:
    """The same without bubblewrap."""
    (Path(home) / "root").mkdir()
    script = Path(home) / "trial.sh"
    entries = skeleton([Mount(home, "/tmp", writable=True)], (), (), home, look)  # noqa: S108  # the sandbox's own
    private_file(script, script_text(entries, {"PATH": SYSTEM_PATH}, "/", home, str(Path(home) / "entered")))
    return [*UNSHARE, "/bin/sh", str(script), "/bin/sh", "-c", f"mount --version | grep -q util-linux || {NOT_OURS}"]


def _podman(attempt: Try, *, network: bool) -> Verdict:
    with TemporaryDirectory(prefix="wesgate-probe-") as home:
        options = trial_options(home, network=network)

        def run(limits: Sequence[str]) -> str | None:
            return attempt(["podman", "run", "--rm", *limits, *options, "--rootfs", home, "/bin/sh", "-c", ":"])

        return _limited("podman", run)


def _docker(attempt: Try, *, network: bool) -> Verdict:
    # Podman under the name of docker does not know this field, and what is meant for docker is not for it.
    problem = attempt(["docker", "version", "--format", "{{.Server.KernelVersion}}"])
    if problem or sys.platform != "linux":
        # Elsewhere containers are in a machine of their own, where the programs of this one do not run.
        return _verdict("docker", problem)
    with TemporaryDirectory(prefix="wesgate-probe-") as home:
        root, archive, name = Path(home) / "root", Path(home) / "root.tar", Path(home).name
        root.mkdir()
        options, image = trial_options(str(root), network=network), f"wesgate:{name}"
        with tarfile.open(archive, "w") as tar:
            tar.add(root, ".")
        problem = attempt(["docker", "import", str(archive), image])
        if problem:
            return _verdict("docker", problem)

        def run(limits: Sequence[str]) -> str | None:
            # Without --rm: behind a service of podman's, that one's exit code is always 0.
            started = ["docker", "run", "--name", name, "--pull=never", *limits, *options, image, "/bin/sh", "-c", ":"]
            try:
                return attempt(started)
            finally:
                attempt(["docker", "rm", "--force", name])

        try:
            return _limited("docker", run)
        finally:
            attempt(["docker", "image", "rm", "--force", image])


def _limited(program: str, run: Callable[[Sequence[str]], str | None]) -> Verdict:
    """Whether a container starts with these limits, or at least without any."""
    limited = run(LIMITS)
    if limited is None:
        return Verdict(program, works=True)
    bare = run(())
    if bare is None:
        return Verdict(program, works=True, limits=False, reason=f"without limits on memory and processors: {limited}")
    return Verdict(program, works=False, reason=bare)


def trial_options(root: str, *, network: bool) -> list[str]:
    """What starts a container whose root has the host's programs in place of an image, by links or as volumes: nothing
    has to be pulled, and for podman no overlay mounted, to find out whether a container starts."""
    shown = []
    for place in PROGRAM_PLACES:
        listing = look(place)
        if listing is not None and listing.link is not None:
            Path(root + place).symlink_to(listing.link)
        elif listing is not None:
            shown += ["--volume", f"{place}:{place}:ro"]
    return [*CONFINED, *([] if network else ["--network=none"]), *shown]


def _linux(runtime: str, attempt: Try, trial: Callable[[str], list[str]]) -> Verdict:
    if sys.platform != "linux":
        return Verdict(runtime, works=False, reason="only Linux has namespaces")
    with TemporaryDirectory(prefix="wesgate-probe-") as home:
        return _verdict(runtime, attempt(trial(home)))


def _verdict(runtime: str, problem: str | None) -> Verdict:
    return Verdict(runtime, works=problem is None, reason=problem or "")
