"""Remove the directories of runs that were never made: an API process may be killed between its files and its row."""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from uuid import UUID

from wesgate.db import runs
from wesgate.db.session import Database

AGE_S = 24 * 3600.0
"""No upload takes this long; a younger directory may be getting its row just now."""
BATCH = 1000

_RUN = re.compile(r"run-([0-9a-f]{32})")

log = logging.getLogger(__name__)


async def remove_orphans(database: Database, files: Path, age_s: float = AGE_S) -> int:
    """Remove what is older than `age_s` seconds and has no row; how many there were."""
    removed = 0
    old = _old(files, time.time() - age_s)
    while batch := dict(await asyncio.to_thread(lambda: list(islice(old, BATCH)))):
        for run_id in set(batch) - await runs.known(database, list(batch)):
            await asyncio.to_thread(shutil.rmtree, batch[run_id], ignore_errors=True)
            log.info("files.orphan_removed", extra={"directory": batch[run_id]})
            removed += 1
    return removed


def _old(files: Path, before: float) -> Iterator[tuple[UUID, Path]]:
    for path in files.glob("*/run-*"):
        named = _RUN.fullmatch(path.name)
        if named and path.lstat().st_mtime < before:
            yield UUID(hex=named[1]), path
