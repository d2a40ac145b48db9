"""Git repositories from a real git server: what is fetched, and what no repository and no server can do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.endless import serving_without_end
from tests.doubles.git import GitServer
from tests.doubles.web import serving
from wesgate.sources import git as sources_git
from wesgate.sources.kinds import Git
from wesgate.storage.connections import Network
from wesgate.storage.http import FetchFailed
from wesgate.storage.patience import Bounds

HELLO = "version 1.0\nworkflow w {}\n"
ANYWHERE = Network(allow_private=True)


def bounds(max_bytes: int = 1_000_000, timeout_s: float = 60, stop: Callable[[], bool] = lambda: False) -> Bounds:
    return Bounds(max_bytes, timeout_s, stop)


def fetched(source: Git, folder: Path, network: Network = ANYWHERE, max_bytes: int = 1_000_000) -> dict[str, bytes]:
    """What came, by name."""
    sources_git.fetch(source, folder / "tree", bounds(max_bytes), network)
    files = [path for path in (folder / "tree").rglob("*") if not path.is_dir() or path.is_symlink()]
    return {path.relative_to(folder / "tree").as_posix(): path.read_bytes() for path in files}


def refused(source: Git, folder: Path, network: Network = ANYWHERE, max_bytes: int = 1_000_000) -> str:
    with pytest.raises(FetchFailed) as failed:
        fetched(source, folder, network, max_bytes)
    assert not list(folder.glob("*tree*")), "what was begun is left"
    assert str(folder) not in str(failed.value)
    return str(failed.value)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "run"
    made.mkdir()
    return made


@pytest.mark.parametrize("ref", ["HEAD", "main", "refs/heads/main", "feature/x", "v1", "signed"])
def test_any_ref_is_pinned_to_its_commit(git: GitServer, home: Path, ref: str) -> None:
    repository = git.repository()
    commit = repository.commit({"main.wdl": HELLO})
    for words in (["branch", "feature/x"], ["tag", "v1"], ["tag", "-a", "signed", "-m", "x"]):
        repository.run(*words)
    assert sources_git.fetch(Git(git.url(), ref), home / "tree", bounds(), ANYWHERE) == commit
    assert (home / "tree/main.wdl").read_text() == HELLO


def test_a_commit_that_no_branch_has_any_more_is_fetched(git: GitServer, home: Path) -> None:
    first = git.repository().commit({"main.wdl": HELLO})
    git.repository().commit({"main.wdl": "changed"})
    assert fetched(Git(git.url(), first), home) == {"main.wdl": HELLO.encode()}


@pytest.mark.parametrize("ref", ["none", "0" * 40])
def test_a_ref_that_there_is_not_is_named(git: GitServer, home: Path, ref: str) -> None:
    git.repository().commit({"main.wdl": HELLO})
    assert refused(Git(git.url(), ref), home).endswith(f"it has no branch, tag or commit {ref}")


def test_a_repository_that_there_is_not_is_told(git: GitServer, home: Path) -> None:
    assert "there is no such repository, or it is not public" in refused(Git(git.url("none")), home)


def test_files_come_as_they_were_committed(git: GitServer, home: Path) -> None:
    """A31: attributes ask for filters (LFS), line ends, encodings and keywords."""
    files = {"main.wdl": b"version 1.0\r\n# $Id$\r\n", "u.wdl": "ü".encode("utf-16")}
    repository = git.repository()
    for name, content in files.items():
        repository.commit_entry("100644", name, repository.blob(content))
    attributes = b"* text eol=lf ident filter=lfs\nu.wdl working-tree-encoding=UTF-16\n"
    repository.commit_entry("100644", ".gitattributes", repository.blob(attributes))
    assert fetched(Git(git.url()), home) == {**files, ".gitattributes": attributes}


def test_a_link_out_of_the_tree_becomes_a_file_of_its_text(git: GitServer, home: Path) -> None:
    """A31."""
    repository = git.repository()
    repository.commit_entry("120000", "main.wdl", repository.blob(b"/etc/passwd"))
    assert fetched(Git(git.url()), home) == {"main.wdl": b"/etc/passwd"}
    assert not (home / "tree/main.wdl").is_symlink()


def test_a_submodule_stays_empty_and_its_host_is_not_asked(git: GitServer, home: Path) -> None:
    """A31."""
    with serving() as inside:
        repository = git.repository()
        repository.commit({".gitmodules": f'[submodule "s"]\n\tpath = s\n\turl = http://{inside.host}/s.git\n'})
        repository.commit_entry("160000", "s", "1" * 40)
        assert set(fetched(Git(git.url()), home)) == {".gitmodules"}
        assert not inside.asked


def test_no_hook_runs(git: GitServer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A31: neither a hook of the user's templates nor one of the repository."""
    hook = tmp_path / "template/hooks/post-checkout"
    hook.parent.mkdir(parents=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(tmp_path / "template"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hooksPath={hook.parent}'")
    git.repository().commit({"hooks/post-checkout": hook.read_text(), "main.wdl": HELLO})
    fetched(Git(git.url()), home)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../evil", ".git/config", "a/../../evil", ".GIT/config"])
def test_a_tree_that_leads_out_of_itself_is_refused(git: GitServer, home: Path, name: str) -> None:
    repository = git.repository()
    object_id = repository.blob(b"x")
    for part in reversed(name.split("/")):
        mode = "100644" if part == name.rsplit("/", maxsplit=1)[-1] else "40000"
        entry = f"{mode} {part}\0".encode() + bytes.fromhex(object_id)
        object_id = repository.run("hash-object", "-t", "tree", "-w", "--stdin", "--literally", given=entry)
    repository.run("update-ref", "refs/heads/main", repository.run("commit-tree", "-m", "x", object_id))
    refused(Git(git.url()), home)
    assert [path.name for path in home.iterdir()] == []


def test_a_repository_that_unpacks_to_too_much_is_refused_before_it_is(git: GitServer, home: Path) -> None:
    git.repository().commit({"zeros": b"\0" * 2_000_000})
    assert "it is larger than the 1000000 bytes allowed: 2000000" in refused(Git(git.url()), home)


def test_a_small_pack_of_very_many_files_is_refused(git: GitServer, home: Path) -> None:
    """Ten trees, each ten times the one before: ten thousand million files in two kilobytes."""
    repository = git.repository()
    object_id = repository.blob(b"x")
    for depth in range(10):
        mode = b"40000" if depth else b"100644"
        tree = b"".join(mode + b" %d\0" % number + bytes.fromhex(object_id) for number in range(10))
        object_id = repository.run("hash-object", "-t", "tree", "-w", "--stdin", given=tree)
    repository.run("update-ref", "refs/heads/main", repository.run("commit-tree", "-m", "x", object_id))
    assert "it holds more than 100000 files" in refused(Git(git.url()), home, max_bytes=10**9)


def test_a_huge_pack_is_cut_off(git: GitServer, home: Path) -> None:
    """A31: bytes of chance, which do not shrink."""
    git.repository().commit({"noise": os.urandom(3_000_000)})
    told = refused(Git(git.url()), home)
    assert "it is larger than the 1000000 bytes allowed" in told
    assert not told.endswith(" 3000000"), "it was listed, so all of it was there"


def test_a_server_that_says_nothing_is_given_up_and_a_head_that_is_stopped_stops(home: Path) -> None:
    with serving() as silent:
        until = threading.Event()

        def say_nothing(_: socket.socket) -> None:
            until.wait(20)

        silent.replies = [say_nothing] * 9
        source = Git(f"http://{silent.host}/x.git")
        with pytest.raises(FetchFailed, match=r"it took longer than the 0\.5 s allowed"):
            sources_git.fetch(source, home / "tree", bounds(timeout_s=0.5), ANYWHERE)
        with pytest.raises(FetchFailed, match="it was told to stop"):
            sources_git.fetch(source, home / "tree", bounds(stop=lambda: bool(silent.asked[1:])), ANYWHERE)
        until.set()
    assert not list(home.iterdir())


def test_a_name_that_leads_elsewhere_later_is_fetched_from_where_it_led_first(git: GitServer, home: Path) -> None:
    """A23: the address that was checked is the one that git connects to; git itself could not find this name."""
    answers = ["127.0.0.1", "127.0.0.2"]
    git.repository().commit({"main.wdl": HELLO})
    network = Network(True, resolve=lambda _host, _port: [answers.pop(0)])
    assert fetched(Git(git.url(host="files.test")), home, network) == {"main.wdl": HELLO.encode()}
    assert answers == ["127.0.0.2"]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "169.254.169.254", "10.0.0.1", "168.63.129.16", "::1", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe"],
)
def test_a_host_that_is_not_public_is_not_connected_to(home: Path, address: str) -> None:
    """A21, A22: whatever its name is."""
    with serving() as inside:
        network = Network(False, resolve=lambda _host, _port: [address])
        told = refused(Git(f"https://repo.test:{inside.port}/x.git"), home, network)
        assert "not public" in told
        assert not inside.asked


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "localhost."])
def test_a_host_that_two_programs_may_read_differently_is_refused(home: Path, host: str) -> None:
    """A22: what was checked must be what git connects to."""
    assert "neither a name nor an address" in refused(Git(f"http://{host}:9/x.git"), home)


def test_a_redirect_is_not_followed(git: GitServer, home: Path) -> None:
    """A24."""
    with serving() as inside:
        git.repository().commit({"main.wdl": HELLO})
        git.redirect = f"http://{inside.host}"
        assert "its server redirects" in refused(Git(git.url()), home)
        assert not inside.asked


@pytest.mark.parametrize("url", ["ext::touch ran", "file:///etc", "/etc", "ssh://-oProxyCommand=x/y", "fd::17/x"])
def test_only_https_is_taken(home: Path, url: str) -> None:
    """A30: even if such a URL got this far."""
    refused(Git(url), home)


def test_plain_http_is_for_sites_that_allow_private_hosts(git: GitServer, home: Path) -> None:
    public = Network(False, resolve=lambda _host, _port: ["93.184.215.14"])
    assert "only https is taken" in refused(Git(git.url()), home, public)
    assert not git.asked


@pytest.mark.parametrize("program", [None, "1.8.3"])
def test_a_git_program_that_is_not_there_or_too_old_is_told(
    git: GitServer, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str | None
) -> None:
    (tmp_path / "bin").mkdir()
    if program:
        (tmp_path / "bin/git").write_text(f"#!/bin/sh\necho git version {program}\n")
        (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    told = refused(Git(git.url()), home)
    assert ("is older than 2.37" if program else "the git program is not on this machine") in told


def test_what_a_server_says_is_not_repeated(home: Path) -> None:
    body = b"<h1>" + b"secret" * 1000
    with serving() as odd:
        odd.replies = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)] * 9
        assert "secret" not in refused(Git(f"http://{odd.host}/x.git"), home)


FETCH = """
import sys
from pathlib import Path
from wesgate.sources import git
from wesgate.storage.connections import Network
from wesgate.storage.patience import Bounds
git.fetch(git.Git(sys.argv[1]), Path(sys.argv[2]), Bounds(1_000_000, 60, lambda: False), Network(True))
"""


def test_no_program_is_left_of_a_fetch_that_was_killed(home: Path) -> None:
    """Git's own child speaks to the server, and would go on for as long as that one wants."""
    with serving_without_end() as server:
        with subprocess.Popen([sys.executable, "-c", FETCH, server.url, str(home / "tree")]) as fetching:
            assert server.asked.wait(20)
            fetching.kill()
        assert server.alone.wait(20), "somebody still listens"


def test_a_fetch_that_takes_more_than_this_process_may_is_told_as_that(git: GitServer, home: Path) -> None:
    git.repository().commit({"large": os.urandom(100_000)})
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
    words = [sys.executable, "-c", limit + FETCH, git.url(), str(home / "tree")]
    told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60).stderr
    assert "it is too large: reading it takes more time, memory or disk than it may" in told
