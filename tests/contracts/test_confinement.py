"""What a step cannot reach, in every runtime that confines steps: others' files, the host's secrets and switches."""

from __future__ import annotations

import os
import pwd
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.contracts.ground import Ground, said
from wesgate.core.spec import FileType, Output
from wesgate.core.states import State
from wesgate.executors.local import LocalExecutor, LocalSettings
from wesgate.settings import STEPS_OWN
from wesgate.worker.runtimes.sandbox import secret_files


async def test_nothing_of_one_owner_is_visible_to_another_job(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without mounts everything is visible, as the class says")
    stranger = replace(ground, owner="stranger")
    (stranger.data / "f").write_text("private")
    seen = await ground.run(ground.task(f"ls {ground.root} {Path.home()}; cat {stranger.data}/f /etc/shadow"))
    assert seen.state is State.EXECUTOR_ERROR
    assert said(seen) == ""


async def test_a_value_with_line_breaks_is_in_no_argument_list_either(ground: Ground) -> None:
    handle = await ground.start(ground.task(ground.sh('echo "$KEY"; sleep 600', env={"KEY": "-----\nno-list-2\n"})))
    await ground.says(handle, "no-list-2")
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], check=True, capture_output=True, text=True).stdout
    await ground.executor.cancel(handle)
    assert "no-list-2" not in listed
    await ground.end(handle)


async def test_an_untrusted_container_has_no_powers(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without a sandbox a step has the worker's own rights, as the class says")
    seen = await ground.run(ground.task("grep -E 'CapEff|NoNewPrivs' /proc/self/status; mount -t tmpfs x /tmp"))
    assert seen.state is State.EXECUTOR_ERROR
    assert said(seen).split() == ["CapEff:", "0000000000000000", "NoNewPrivs:", "1"]


async def test_a_step_cannot_open_what_changes_the_whole_host(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without a sandbox a step has the worker's own rights, as the class says")
    knobs = "/proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/kernel/hostname " \
            "/proc/irq/default_smp_affinity /proc/sysrq-trigger"  # fmt: skip
    tried = f"for f in {knobs}; do (: >> $f) 2>&1 && echo opened $f; done; readlink /proc/self/ns/uts"
    seen = await ground.run(ground.task(tried))
    assert "opened" not in said(seen), seen
    assert str(Path("/proc/self/ns/uts").readlink()) not in said(seen)


async def test_a_step_cannot_change_the_hosts_devices(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without a sandbox a step has the worker's own rights, as the class says")
    if ground.runtime == "process:bubblewrap" and os.geteuid() == 0:
        pytest.skip("bubblewrap binds devices for reading and writing only, as docs/howto/runtimes.md says")
    mode = Path("/dev/null").stat().st_mode
    seen = await ground.run(ground.task("chmod 600 /dev/null; echo gone >/dev/null && head -c 1 /dev/zero | wc -c"))
    assert (said(seen).strip(), Path("/dev/null").stat().st_mode) == ("1", mode), seen


async def test_what_other_users_of_the_host_may_not_read_steps_cannot_either(ground: Ground) -> None:
    if ground.is_plain:
        pytest.skip("without mounts everything is visible, as the class says")
    secret = secret_files()
    assert "/etc/shadow" in secret
    # Those of a container's image are not the host's.
    names = " ".join(secret if ground.runtime != "podman" else ("/etc/security/opasswd",))
    assert said(await ground.run(ground.task(f"for f in {names}; do cat $f; ls -A $f/; done 2>/dev/null"))) == ""


@pytest.fixture
def place(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A directory outside of those which a sandbox has anew, wherever this checkout lies."""
    assert pytestconfig.cache is not None
    around = pytestconfig.cache.mkdir("shown").resolve()
    if any(around.is_relative_to(own) for own in STEPS_OWN):
        around = Path(pwd.getpwuid(os.getuid()).pw_dir)
    with TemporaryDirectory(prefix=".wesgate-test-", dir=around) as path:
        yield Path(path)


async def test_the_files_root_and_the_data_directory_are_hidden_where_their_surroundings_are_shown(
    ground: Ground, place: Path
) -> None:
    if ground.runtime not in ("process:bubblewrap", "process:namespace"):
        pytest.skip("this runtime shows nothing of the host, or everything")
    shown = LocalSettings(runtime=ground.runtime, visible=(str(place),), private=(str(place / "data"),))
    around = LocalExecutor(shown, place / "files", place, dict(os.environ))
    await around.start()
    own = replace(ground, executor=around, root=place / "files")
    secrets = [replace(own, owner="stranger").data / "f", place / "data" / "f", place / "tool"]
    for path in secrets:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{path.name} ")
    given = own.input("mine", "mine ")
    mine = replace(given, path=str(own.data / "mine"))
    bare = await own.run(own.task(f"cat {' '.join(map(str, secrets))}"))
    with_input = await own.run(own.task(f"cat {mine.path} {' '.join(map(str, secrets))}", inputs=(mine,)))
    await around.close()
    assert (said(bare), said(with_input)) == ("tool ", "mine tool "), (bare, with_input)


@pytest.mark.parametrize("ends", ["cat /o/secret", "true"])
async def test_a_directory_that_a_step_replaced_by_a_link_is_not_followed(ground: Ground, ends: str) -> None:
    if ground.is_plain:
        pytest.skip("without mounts everything is visible, as the class says")
    secret = ground.root / f"another-{uuid.uuid4().hex}" / "x"
    secret.mkdir(parents=True)
    (secret / "secret").write_text("of another owner")
    outer, inner = ground.data / "outer", ground.data / "outer" / "e" / "x"
    places = [("/outer", outer), ("/o", inner)]
    outputs = [Output(path, place.as_uri(), FileType.DIRECTORY) for path, place in places]
    swap = f"mv /outer/e /outer/gone && ln -s {secret.parent} /outer/e"
    steps = (swap,) if ends == "true" else (swap, ends)
    seen = await ground.run(ground.task(*steps, outputs=(*outputs, Output("/o/secret", (ground.data / "g").as_uri()))))
    assert seen.report
    assert "of another owner" not in str(seen.report)
    assert not [each for each in seen.report.outputs if each.path == "/o/secret"]
    assert not (ground.data / "g").exists()
