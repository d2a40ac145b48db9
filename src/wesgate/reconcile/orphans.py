"""Remove the directories of runs that were never made: an API process may be killed between its files and its row.

Only what carries the API's own mark is looked at, so that a database that was restored from a backup, or is the wrong
one, costs nobody a file.
"""

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

from wesgate.core.paths import INCOMING
from wesgate.db import runs
from wesgate.db.session import Database

AGE_S = 24 * 3600.0
"""No upload takes this long; a younger directory may be getting its row just now."""
BATCH = 1000

_RUN = re.compile(r"run-([0-9a-f]{32})")

log = logging.getLogger(__name__)


async def remove_orphans(database: Database, files: Path, age_s: float = AGE_S) -> int:
    """Remove what has been coming in for more than `age_s` seconds and has no row; how many there were."""
    removed = 0
    old = _incoming(files, time.time() - age_s)
    while batch := dict(await asyncio.to_thread(lambda: list(islice(old, BATCH)))):
        known = await runs.known(database, list(batch))
        for run_id, directory in batch.items():
            if run_id in known:
                (directory / INCOMING).unlink(missing_ok=True)
                continue
            await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
            log.info("files.orphan_removed", extra={"directory": directory})
            removed += 1
    return removed


def _incoming(files: Path, before: float) -> Iterator[tuple[UUID, Path]]:
    for mark in files.glob(f"*/run-*/{INCOMING}"):
        named = _RUN.fullmatch(mark.parent.name)
        if named and mark.lstat().st_mtime < before:
            yield UUID(hex=named[1]), mark.parent
