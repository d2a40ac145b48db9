"""Who reconciles on this machine: the living are left alone, the killed are found out, and rubbish is not heard."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from wesgate.core.spec import attempt_key
from wesgate.reconcile.presence import Presence, new_name
from wesgate.worker.wake import wake

HERE = """
import asyncio, sys
from pathlib import Path
from wesgate.reconcile.presence import Presence, new_name

async def main():
    name = new_name()
    with Presence(Path(sys.argv[1]), name, print):
        print(name, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def directory(short_tmp: Path) -> Path:
    return short_tmp / uuid4().hex[:8]


def unheard(key: str) -> None:
    raise AssertionError(f"nobody sent {key}")


async def present(directory: Path) -> tuple[str, asyncio.subprocess.Process]:
    """Somebody in a process of their own, and their name."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HERE, str(directory), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip(), process


async def killed(directory: Path) -> str:
    """The name of somebody who was here and was killed."""
    name, process = await present(directory)
    assert name
    process.kill()
    await process.communicate()
    return name


async def test_one_that_was_killed_is_told_and_tidied_away(directory: Path) -> None:
    dead, name = await killed(directory), new_name()
    assert sorted(path.name for path in directory.iterdir()) == [f"{dead}.lock", f"{dead}.wake"]
    with Presence(directory, name, unheard) as here:
        assert list(here.gone()) == [dead]
        assert sorted(path.name for path in directory.iterdir()) == [f"{name}.lock", f"{name}.wake"]
        assert list(here.gone()) == []


async def test_what_is_left_of_a_killed_one_stays_until_its_turn_is_over(directory: Path) -> None:
    dead = await killed(directory)
    with Presence(directory, new_name(), unheard) as here:
        for name in here.gone():
            assert (directory / f"{name}.lock").exists()
            break
        assert list(here.gone()) == [dead]


async def test_one_that_lives_is_not_gone(directory: Path) -> None:
    _, other = await present(directory)
    with Presence(directory, new_name(), unheard) as here:
        assert list(here.gone()) == []
        assert len(list(directory.iterdir())) == 4
    other.kill()
    await other.communicate()


async def test_whoever_leaves_leaves_nothing(directory: Path) -> None:
    with Presence(directory, new_name(), unheard):
        assert len(list(directory.iterdir())) == 2
    assert list(directory.iterdir()) == []


async def test_a_workers_push_is_told_to_all_who_are_here(directory: Path) -> None:
    one, other = asyncio.Queue[str](), asyncio.Queue[str]()
    key = attempt_key(uuid4(), 7)
    with Presence(directory, new_name(), one.put_nowait), Presence(directory, new_name(), other.put_nowait):
        wake(str(directory), key)
        async with asyncio.timeout(5):
            assert (await one.get(), await other.get()) == (key, key)


ID = "0" * 32
RUBBISH = ["", "hello", "wg-", "wg-xyz-1", f"wg-{ID[1:]}-1", f"wg-{ID}-", f"wg-{ID}-1\n", f"wg-{ID * 20}-1",
           f"WG-{ID}-1", f"wg-{ID}-{'9' * 10}", f"wg-{ID}-²", "ключ"]  # fmt: skip


async def test_rubbish_is_not_heard(directory: Path) -> None:
    heard = asyncio.Queue[str]()
    with Presence(directory, new_name(), heard.put_nowait):
        for number, word in enumerate(RUBBISH):
            for sent in (word, attempt_key(uuid4(), number)):
                wake(str(directory), sent)
            async with asyncio.timeout(5):
                assert await heard.get() == sent
    assert heard.empty()


async def test_a_path_too_long_for_a_socket_only_costs_the_wake_ups(directory: Path) -> None:
    deep = directory / ("d" * 120)
    with Presence(deep, new_name(), unheard) as here:
        assert [path.suffix for path in deep.iterdir()] == [".lock"]
        assert list(here.gone()) == []
