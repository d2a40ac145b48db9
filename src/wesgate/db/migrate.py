"""Bring a database to the schema of this version; safe to run from many processes at once."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

import wesgate
from wesgate.core.errors import Misconfigured
from wesgate.db.session import Database

if TYPE_CHECKING:
    from alembic.config import Config  # it takes long to load, and is needed once

HEAD = "0004"
"""The revision this code is written for; a test compares it with the newest file in `migrations/versions`."""

log = logging.getLogger(__name__)

_LOCK = 0x57455347  # "WESG": one migration at a time


def folder() -> Path:
    """Where the migrations are: beside the package in a checkout, inside it in an install."""
    package = Path(wesgate.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


async def current(database: Database) -> str | None:
    """The revision the database has; None for an empty one."""
    async with database.transaction() as connection:
        known = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
        return await connection.scalar(text("SELECT version_num FROM alembic_version")) if known else None


async def is_usable(database: Database) -> bool:
    """Whether this code can work with the schema that is there: its own, or a newer one. A newer version expands the
    schema while older ones are still up, and contracts it when they are gone."""
    found = await current(database)
    if found == HEAD:
        return True
    if found is None or found in _known():
        return False
    log.info("database.newer", extra={"revision": found, "own": HEAD})
    return True


async def upgrade(database: Database, revision: str = "head") -> bool:
    """Migrate; True if there was something to do. Others who try meanwhile wait for this one."""
    if revision == "head" and await is_usable(database):
        return False
    async with database.transaction() as connection:
        # A schema change may take long on a large site.
        await connection.execute(
            text("SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)")
        )
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        await connection.run_sync(_run, revision)
    return True


def _run(connection: Connection, revision: str) -> None:
    from alembic import command
    from alembic.util import CommandError

    config = _config()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, revision)
    except CommandError as error:
        raise Misconfigured(f"the database cannot be migrated: {error}") from error


def _known() -> frozenset[str]:
    """The revisions that this code has."""
    from alembic.script import ScriptDirectory

    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder()))
    return config
