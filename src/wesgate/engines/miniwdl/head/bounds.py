"""How much reading a document may take: what is written to be read for ever, or to fill the memory, is cut off."""

from __future__ import annotations

import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import WDL  # which takes memory that an engine has no need of

CPU_S = 10
ALL_CPU_S = 2 * CPU_S
WALL_S = 30.0
MOST_DOCUMENTS = 1000
MOST_BYTES = 4 * 1024 * 1024
MEMORY_BYTES = 1_000_000_000
TOO_MUCH = (
    f"the workflow is too large or too deeply nested: reading it may take {CPU_S} s of one core and "
    f"{MEMORY_BYTES // 10**9} GB of memory; split it into smaller documents"
)


Read: TypeAlias = "Callable[[str, list[str], WDL.Tree.Document | None], Awaitable[WDL.Tree.ReadSourceResult]]"


class TooMuch(Exception):
    __doc__ = TOO_MUCH

    def __str__(self) -> str:
        return TOO_MUCH


def counted(read: Read) -> Read:
    """The same, for so many documents and bytes in all: imports may lead back to the same document again and again."""
    left = [MOST_DOCUMENTS, MOST_BYTES]

    async def read_source(uri: str, path: list[str], importer: WDL.Tree.Document | None) -> WDL.Tree.ReadSourceResult:
        found = await read(uri, path, importer)
        left[0] -= 1
        left[1] -= len(found.source_text)
        if min(left) < 0:
            raise TooMuch
        return found

    return read_source


def confine(max_bytes: int, wall_s: float) -> None:
    """Bound this process, and each that it starts, for good: its memory, its time, and the size of a file that it
    writes. Beyond the time it is ended by SIGXCPU, or by SIGALRM; beyond the memory there is a MemoryError."""
    limits = {resource.RLIMIT_DATA: MEMORY_BYTES, resource.RLIMIT_CPU: ALL_CPU_S, resource.RLIMIT_FSIZE: max_bytes}
    for kind, wanted in limits.items():
        resource.setrlimit(kind, (_lower(kind, wanted), resource.getrlimit(kind)[1]))
    signal.setitimer(signal.ITIMER_REAL, wall_s)


@contextmanager
def reading() -> Iterator[None]:
    """Bounds for the block, which raises TooMuch where it wants more memory, or deeper calls, than it may have. Where
    it wants more time, the kernel ends the process by SIGXCPU: a regular expression of the parser heeds nothing
    else."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    with ExitStack() as lowered:
        lowered.enter_context(_lowered(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + CPU_S))
        lowered.enter_context(_lowered(resource.RLIMIT_DATA, MEMORY_BYTES))
        try:
            yield
        except Exception as error:
            if not _is_too_much(error):
                raise
            # Its traceback would keep alive all that filled the memory.
            raise TooMuch from None


def _is_too_much(error: BaseException | None) -> bool:
    return error is not None and (
        isinstance(error, MemoryError | RecursionError | TooMuch) or _is_too_much(error.__cause__)
    )


@contextmanager
def _lowered(kind: int, wanted: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (_lower(kind, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


def _lower(kind: int, wanted: int) -> int:
    """This limit, or the one that there is already."""
    return min([wanted, *(limit for limit in resource.getrlimit(kind) if limit != resource.RLIM_INFINITY)])
