"""Where steps start, and what is there for them."""

from __future__ import annotations

from tests.contracts.ground import Ground, said
from wesgate.core.spec import Output
from wesgate.core.states import State


async def test_a_step_starts_in_its_working_directory(ground: Ground) -> None:
    work = f"{ground.inside}/work dir"
    seen = await ground.run(ground.task(ground.sh("pwd; echo made > here", workdir=work), volumes=(work,)))
    assert said(seen) == f"{work}\n", seen


async def test_what_outputs_need_below_a_working_directory_is_for_the_step_to_make(ground: Ground) -> None:
    work = f"{ground.inside}/work"
    output = Output(f"{work}/qc/a.txt", f"file://{ground.data}/a.txt")
    step = ground.sh("mkdir qc && echo good > qc/a.txt", workdir=work)
    seen = await ground.run(ground.task(step, volumes=(work,), outputs=(output,)))
    assert seen.state is State.COMPLETE, seen
    assert (ground.data / "a.txt").read_text() == "good\n"


async def test_the_root_can_be_a_working_directory(ground: Ground) -> None:
    seen = await ground.run(ground.task(ground.sh("pwd", workdir="/")))
    assert said(seen) == "/\n", seen
