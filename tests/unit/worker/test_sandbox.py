"""The file system of a sandbox, as a plan and as it is rendered."""

from __future__ import annotations

import subprocess
from pathlib import Path

from wesgate.worker.files.mounts import Mount
from wesgate.worker.runtimes.process import bubblewrap_options, script_text
from wesgate.worker.runtimes.sandbox import Directory, Link, Listing, secret_files, skeleton

HOST = {
    "/usr": Listing(directory=True, names=("bin", "share")),
    "/usr/bin": Listing(directory=True, names=("sh",)),
    "/usr/share": Listing(directory=True, names=("doc", "link")),
    "/usr/share/doc": Listing(directory=True),
    "/usr/share/link": Listing(link="doc"),
    "/bin": Listing(link="usr/bin"),
    "/etc": Listing(directory=True, names=("shadow", "ssh")),
    "/etc/shadow": Listing(),
    "/etc/ssh": Listing(directory=True),
    "/home": Listing(directory=True, names=("me",)),
    "/refs": Listing(directory=True),
}


def planned(*mounts: Mount, visible: tuple[str, ...] = (), hidden: tuple[str, ...] = ()) -> list[object]:
    return list(skeleton(mounts, visible, hidden, "/empty", HOST.get, str))


def test_programs_are_shown_and_the_rest_of_the_host_is_not() -> None:
    shown = planned()
    assert Mount("/usr", "/usr") in shown
    assert Link("/bin", "usr/bin") in shown
    assert not [entry for entry in shown if "/home" in str(entry) or "/refs" in str(entry)]


def test_secrets_are_covered() -> None:
    shown = planned()
    assert Mount("/dev/null", "/etc/shadow", directory=False) in shown
    assert Mount("/empty", "/etc/ssh") in shown


def test_what_the_operator_makes_visible_is_shown_read_only() -> None:
    assert Mount("/refs", "/refs") in planned(visible=("/refs",))


def test_a_mount_point_in_a_read_only_directory_gets_a_directory_of_its_own_around_it() -> None:
    given = Mount("/data/f", "/usr/share/ref/f", directory=False)
    shown = planned(given)
    assert Mount("/usr", "/usr") not in shown
    assert [Directory("/usr"), Mount("/usr/bin", "/usr/bin"), Directory("/usr/share")] == shown[1:4]
    assert Link("/usr/share/link", "doc") in shown
    assert shown[-1] == given


def test_a_mount_over_a_place_of_the_host_replaces_it() -> None:
    own = Mount("/data", "/etc", writable=True)
    shown = planned(own)
    assert [entry for entry in shown if "/etc" in str(entry)] == [own]


def test_what_is_hidden_is_covered_wherever_it_would_be_seen() -> None:
    shown = planned(visible=("/refs",), hidden=("/usr/share/doc", "/refs", "/home/me", "/usr/gone"))
    assert Mount("/empty", "/usr/share/doc") in shown
    assert shown.index(Mount("/empty", "/refs")) > shown.index(Mount("/refs", "/refs"))
    assert "/home" not in str(shown)
    assert "/usr/gone" not in str(shown)


def test_a_mount_inside_a_hidden_directory_is_shown_and_nothing_beside_it() -> None:
    given = Mount("/data/f", "/usr/share/doc/f", directory=False)
    shown = planned(given, hidden=("/usr/share",))
    assert [entry for entry in shown if "/usr/share" in str(entry)] == [
        Directory("/usr/share"), Directory("/usr/share/doc"), given,
    ]  # fmt: skip


def test_what_others_may_not_read_or_enter_is_secret(tmp_path: Path) -> None:
    for name, mode in (("open/key", 0o640), ("open/conf", 0o644), ("shut/inner/conf", 0o644), ("open/deep/x", 0o604)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.chmod(mode)
    (tmp_path / "shut").chmod(0o750)
    (tmp_path / "link").symlink_to("shut")
    assert sorted(secret_files(str(tmp_path))) == [f"{tmp_path}/open/key", f"{tmp_path}/shut"]
    assert f"{tmp_path}/open/deep" in secret_files(str(tmp_path), bound=5)


def test_the_environment_is_quoted_for_the_shell() -> None:
    text = script_text([], {"A": "a'b $c", "B.C": "d e"}, "/w d", "/home of", "/marker")
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert "B.C=d e" in text


def test_the_options_of_bubblewrap_name_writable_mounts_as_such() -> None:
    options = bubblewrap_options([Mount("/a", "/b"), Mount("/c", "/d", writable=True)], {"X": "y"}, "/d")
    joined = " ".join(options)
    assert "--ro-bind /a /b --bind /c /d" in joined
    assert joined.endswith("--chdir /d --setenv X y")
