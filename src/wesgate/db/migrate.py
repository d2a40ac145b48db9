"""Bring a database to the schema of this version; safe to run from many processes at once."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

import wesgate
from wesgate.db.session import Database

HEAD = "0001"
"""The revision this code is written for; a test compares it with the newest file in `migrations/versions`."""

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


async def upgrade(database: Database, revision: str = "head") -> bool:
    """Migrate; True if there was something to do. Others who try meanwhile wait for this one."""
    if revision == "head" and await current(database) == HEAD:
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
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(folder()))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
