"""A git repository at one commit, fetched by the git program with nothing left to the repository, or to whoever names
it, that could run a program, name another place, or fill the disk."""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
import re
import shutil
import signal
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO
from urllib.parse import quote

from wesgate.sources.kinds import Git
from wesgate.storage.connections import Network, allowed_addresses, check_written, proxy_of
from wesgate.storage.http import FetchFailed
from wesgate.storage.patience import Bounds, Transfer
from wesgate.storage.target import Broken, Refused, Target, bracketed, parse, redacted

OLDEST = (2, 37)
"""The first git whose addresses can be pinned (http.curloptResolve)."""

MOST_FILES = 100_000
LISTING_BYTES = 16 << 20
LOOK_S = 0.1
TOLD_BYTES = 4000

GUARD = ("/bin/sh", "-c", "read _; kill -s KILL 0")
"""Ends its process group once its standard input does, which the kernel sees to when nobody is left to write there."""

OPTIONS = {
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "core.hooksPath": os.devnull,
    "core.symlinks": "false",
    "core.bare": "false",
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "16m",  # what is larger is not held in memory
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
    "pack.threads": "1",
    "submodule.recurse": "false",
}

# Files come as they were committed: what a repository says of its own files would change their bytes, or ask for
# programs. This file of the clone beats every one of the repository's.
ATTRIBUTES = "* -text -eol -crlf -ident -filter -working-tree-encoding\n"

# What git says, in English, and what is told of it: its own words may be the server's.
_SAYS: tuple[tuple[str, type[Refused], str], ...] = (
    (r"remote ref|not our ref|unadvertised object|bad object", Refused, "it has no branch, tag or commit {ref}"),
    (r"Authentication failed|could not read Username|terminal prompts|error: 40[134]|repository .* not found", Refused,
     "there is no such repository, or it is not public"),
    (r"error: 30[0-9]|redirect", Refused, "its server redirects: name the repository where it is now"),
    (r"certificate|SSL", Refused, "its certificate is not valid, or TLS failed otherwise"),
    (r"transport '.*' not allowed", Refused, "only https is taken"),
    (r"No space left", Refused, "no space is left on the disk"),
    (rf"died of signal ({signal.SIGXCPU:d}|{signal.SIGXFSZ:d})\b|out of memory", Refused,
     "it is too large: reading it takes more time, memory or disk than it may"),
    (r"resolve host|Failed to connect|refused|timed out|RPC failed|early EOF|hung up|error: 5[0-9][0-9]|too slow",
     Broken, "its server could not be reached, or the connection ended"),
)  # fmt: skip


def fetch(source: Git, folder: Path, bounds: Bounds, network: Network, deadline: float = 0.0) -> str:
    """Put the files of a repository into `folder`, which is not there yet; the commit that they are of. Links become
    files of their text, submodules stay empty. `FetchFailed` with a sentence otherwise. `deadline` on the monotonic
    clock is for several fetches that share their time."""
    transfer = Transfer(bounds, deadline)
    try:
        target = _target(source, network)
        with TemporaryDirectory(dir=folder.parent, prefix=".git-") as scratch, _group() as group:
            environment = _environment(Path(scratch), target, network, transfer)
            git = _Git(_program(), Path(scratch), environment, group, transfer)
            commit = transfer.retried(lambda: _commit(git, source, target))
            _check_size(git, commit)
            tree = Path(scratch) / "tree"
            git.run("read-tree", commit)
            git.run("checkout-index", "--all", "--quiet")
            tree.rename(folder)
    except Refused as reason:
        raise FetchFailed(f"{redacted(source.repository)} could not be fetched: {reason}") from reason
    return commit


@dataclass(frozen=True, slots=True)
class _Git:
    """The program, and the one directory that it may use: `repository`, `tree` and `home` are below it. `group` is the
    process group of all that it starts."""

    program: str
    scratch: Path
    environment: Mapping[str, str]
    group: int
    transfer: Transfer

    def run(self, *words: str) -> bytes:
        """What it prints; `Refused`, or `Broken`, with a sentence of ours if it fails."""
        out, err = self.scratch / "out", self.scratch / "err"
        with out.open("wb") as stdout, err.open("wb") as stderr, self._started(words, stdout, stderr) as process:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(self.transfer.wait_s(LOOK_S))
                self._check_disk(out)
        if process.returncode:
            told = err.read_bytes()[-TOLD_BYTES:].decode(errors="replace")
            # As it says itself of a program that it started.
            ended = f"\ngit died of signal {-process.returncode}" if process.returncode < 0 else ""
            raise _failure(f"{told}{ended}", words)
        return out.read_bytes()

    @contextmanager
    def _started(self, words: tuple[str, ...], out: IO[bytes], err: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [self.program, *words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=self.scratch,
            env=dict(self.environment),
            process_group=self.group,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _check_disk(self, out: Path) -> None:
        if out.stat().st_size > LISTING_BYTES:
            raise Refused(f"it holds more than {MOST_FILES} files")
        # Packed files come beside what is unpacked of them.
        self.transfer.refuse_size(_size(self.scratch / "repository"))
        self.transfer.refuse_size(_size(self.scratch / "tree"))


@contextmanager
def _group() -> Iterator[int]:
    """A process group that ends with the block, and with this process however it ends. Git's own children, who speak to
    the server, would outlive both: they go on for as long as it says a byte now and then."""
    with subprocess.Popen(GUARD, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0) as guard:
        try:
            yield guard.pid
        finally:
            os.killpg(guard.pid, signal.SIGKILL)


def _target(source: Git, network: Network) -> Target:
    target = parse(source.repository)
    if target.scheme == "http" and not network.allow_private:
        raise Refused("only https is taken")
    if _is_odd(target.host):
        raise Refused("its host is neither a name nor an address as addresses are written")
    return target


def _is_odd(host: str) -> bool:
    """Whether two programs might take this for different hosts: 127.1, 0x7f000001, or a name with a dot at its end."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch(r"0[xX][0-9A-Fa-f]*|[0-9]*", host.rpartition(".")[2]) is not None
    return False


def _program() -> str:
    program = shutil.which("git")
    if program is None:
        raise Refused("the git program is not on this machine; its operator can install it")
    told = subprocess.run([program, "version"], capture_output=True, text=True, timeout=10, check=False).stdout
    found = re.search(r"(\d+)\.(\d+)", told)
    if found is None or (int(found[1]), int(found[2])) < OLDEST:
        raise Refused(f"the git program of this machine is older than {OLDEST[0]}.{OLDEST[1]}, which is needed")
    return program


def _environment(scratch: Path, target: Target, network: Network, transfer: Transfer) -> dict[str, str]:
    """All that the program is told besides its arguments: nothing of this machine's or its user's."""
    from wesgate.settings import environment  # slow, and git is rare

    inherited = {name: value for name, value in environment().items() if name in ("PATH", "WESGATE_KEY")}
    options = OPTIONS | _way(target, network, transfer)
    if target.scheme == "http":
        options["protocol.http.allow"] = "always"
    if authorities := ssl.get_default_verify_paths().cafile:
        options["http.sslCAInfo"] = authorities
    numbered = list(enumerate(options.items()))
    return inherited | {
        "HOME": str(scratch / "home"),
        "XDG_CONFIG_HOME": str(scratch / "home"),
        "LC_ALL": "C",
        "GIT_DIR": str(scratch / "repository"),
        "GIT_WORK_TREE": str(scratch / "tree"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_ASKPASS": "",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        # By the environment, which other users cannot read, since a proxy may want a password.
        "GIT_CONFIG_COUNT": str(len(numbered)),
        **{f"GIT_CONFIG_KEY_{number}": name for number, (name, _) in numbered},
        **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in numbered},
    }


def _way(target: Target, network: Network, transfer: Transfer) -> dict[str, str]:
    """How the host is reached: at the addresses that were checked, whatever its name leads to later."""
    proxy = proxy_of(target)
    if proxy is not None:
        check_written(target, network)
        login = base64.b64decode(proxy.login.removeprefix("Basic ")).decode()
        user = "".join(f"{quote(part, safe='')}{mark}" for part, mark in zip(login.split(":", 1), ":@", strict=False))
        return {"http.proxy": f"http://{user}{proxy.authority}"}
    addresses = ",".join(map(bracketed, allowed_addresses(target, network, transfer)))
    return {"http.proxy": "", "http.curloptResolve": f"{bracketed(target.host)}:{target.port}:{addresses}"}


def _commit(git: _Git, source: Git, target: Target) -> str:
    """Fetch what the ref names, and nothing before it; the commit that this is."""
    repository = git.scratch / "repository"
    shutil.rmtree(repository, ignore_errors=True)
    (git.scratch / "tree").mkdir(exist_ok=True)
    git.run("init", "--quiet", "--template=")
    (repository / "info").mkdir(exist_ok=True)
    (repository / "info/attributes").write_text(ATTRIBUTES)
    words = ("fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--end-of-options")
    git.run(*words, target.bare, source.ref)
    return git.run("rev-parse", "--verify", "FETCH_HEAD^{commit}").decode().strip()


def _check_size(git: _Git, commit: str) -> None:
    """`Refused` before anything is unpacked that would be too much: a small pack can hold very large trees."""
    listed = git.run("ls-tree", "-r", "-l", "-z", "--full-tree", commit).split(b"\0")[:-1]
    if len(listed) > MOST_FILES:
        raise Refused(f"it holds more than {MOST_FILES} files")
    sizes = (entry.partition(b"\t")[0].split()[3] for entry in listed)
    git.transfer.refuse_size(sum(int(size) for size in sizes if size.isdigit()))


def _size(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # it may be gone, as temporary files are
                total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118  # many, in a loop
    return total


def _failure(told: str, words: tuple[str, ...]) -> Refused:
    logging.getLogger("wesgate").warning("git %s: %s", words[0], told.strip())
    for pattern, kind, sentence in _SAYS:
        if re.search(pattern, told, re.IGNORECASE):
            return kind(sentence.format(ref=words[-1]))
    return Refused(f"git {words[0]} failed; the run's stderr has its words")
