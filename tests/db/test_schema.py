"""What the database itself keeps: the schema of the code, the table of states, the record of what happened."""

from __future__ import annotations

from itertools import product

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from tests.builders import a_run, a_task, become, execute, scalar
from wesgate.core.errors import Misconfigured
from wesgate.core.owner import Caller
from wesgate.core.spec import Kind
from wesgate.core.states import TERMINAL, TRANSITIONS, State
from wesgate.db import migrate
from wesgate.db.session import Database
from wesgate.db.tables import Base


async def test_the_migrations_make_the_tables_of_the_code(any_database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))

    async with any_database.transaction() as connection:
        assert await connection.run_sync(differences) == []


def test_the_code_names_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == migrate.HEAD


async def test_migrating_twice_changes_nothing(any_database: Database) -> None:
    assert await migrate.upgrade(any_database) is False


async def test_the_schema_of_a_newer_version_is_worked_with(database: Database) -> None:
    await execute(database, "UPDATE alembic_version SET version_num = '9999'")
    assert await migrate.upgrade(database) is False
    assert await migrate.is_usable(database)
    assert await migrate.current(database) == "9999"


async def test_a_database_without_a_schema_is_not_usable(database: Database) -> None:
    await execute(database, "DELETE FROM alembic_version")
    assert not await migrate.is_usable(database)


async def test_a_migration_that_alembic_cannot_do_is_told_as_a_sentence(database: Database) -> None:
    with pytest.raises(Misconfigured, match="cannot be migrated: "):
        await migrate.upgrade(database, "no-such-revision")


async def test_the_database_has_the_same_table_of_states_as_the_code(any_database: Database) -> None:
    pairs = list(product(TRANSITIONS, TRANSITIONS))
    async with any_database.transaction() as connection:
        answers = [
            await connection.scalar(text("SELECT wesgate_may_become(:old, :new)"), {"old": old, "new": new})
            for old, new in pairs
        ]
    assert answers == [new in TRANSITIONS[old] for old, new in pairs]


@pytest.mark.parametrize("end", sorted(TERMINAL))
async def test_no_statement_takes_a_row_out_of_an_end(database: Database, caller: Caller, end: State) -> None:
    task = await a_task(database, caller)
    if end is State.CANCELED:
        await become(database, Kind.TASK, task, "CANCELING")
    await become(database, Kind.TASK, task, end)
    with pytest.raises(IntegrityError, match="may not become"):
        await become(database, Kind.TASK, task, "RUNNING")


async def test_an_ended_row_is_never_due_again(any_database: Database, somebody: Caller) -> None:
    task = await a_task(any_database, somebody)
    await become(any_database, Kind.TASK, task, "COMPLETE")
    assert await scalar(any_database, "SELECT due_at FROM tasks WHERE id = :id", id=task) is None
    with pytest.raises(IntegrityError, match="ended_rows_are_never_due"):
        await execute(any_database, "UPDATE tasks SET due_at = now() WHERE id = :id", id=task)


async def test_every_state_is_recorded_in_order(database: Database, caller: Caller) -> None:
    task = await a_task(database, caller)
    for state in ("INITIALIZING", "RUNNING", "COMPLETE"):
        await become(database, Kind.TASK, task, state)
    told = await scalar(database, "SELECT string_agg(state, ' ' ORDER BY id) FROM history WHERE row_id = :id", id=task)
    assert told == "QUEUED INITIALIZING RUNNING COMPLETE"


async def test_a_run_that_ends_leaves_no_task_running(database: Database, caller: Caller) -> None:
    run = await a_run(database, caller)
    task = await a_task(database, Caller(caller.owner, run))
    await become(database, Kind.RUN, run, "SYSTEM_ERROR")
    assert await scalar(database, "SELECT state FROM tasks WHERE id = :id", id=task) == "CANCELING"
    assert await scalar(database, "SELECT due_at <= now() FROM tasks WHERE id = :id", id=task)
