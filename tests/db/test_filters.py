"""The conditions of a list: what they find, and that an index finds it whatever else is stored."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.builders import HELLO, a_new_task, execute
from wesgate.core.owner import Caller, Owner
from wesgate.core.spec import Kind
from wesgate.core.states import State
from wesgate.db import tasks
from wesgate.db.lists import pages
from wesgate.db.lists.filters import Filter, conditions, where
from wesgate.db.lists.pages import SAMPLE
from wesgate.db.session import Database

NAMES = ["", "a", "a%", "a_", "ab", "a\uffff", "a\U0010ffff", "b", "\ud7ff", "\ue000", "\U0010ffff", "é", "e\u0301",
         "x" * 64, "x" * 65, "x" * 63 + "y", "x" * 3000]  # fmt: skip


async def test_a_prefix_finds_what_begins_with_it(any_database: Database, somebody: Caller) -> None:
    named = [a_new_task(document={**HELLO, "name": name}) for name in NAMES]
    made = dict(zip(await tasks.create_all(any_database, somebody, named), NAMES, strict=True))
    for prefix in NAMES[1:]:
        page = await tasks.short_page(any_database, somebody, Filter(prefix), None, 100)
        assert [made[task.id] for task in page] == [name for name in NAMES[::-1] if name.startswith(prefix)]


def test_only_what_was_asked_for_is_a_condition() -> None:
    somebody = Caller(Owner(uuid4(), "test", "somebody"))
    assert conditions(somebody, Filter()) == ("owner_id = $1 AND lane = 'task'", [somebody.owner.id])
    assert not Filter()


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(), "ix_tasks_newest"), (Filter(state=State.RUNNING), "ix_tasks_state"),
        (Filter("rare"), "ix_tasks_name"), (Filter(tags=(("a", "rare"),)), "ix_tasks_tags"),
        (Filter(tags=(("none", ""),)), "ix_tasks_tags"), (Filter(tags=(("a", ""),)), "ix_tasks_newest"),
        (Filter("rare", State.COMPLETE), "ix_tasks_name"), (Filter("common"), "ix_tasks_newest"),
    ],
)  # fmt: skip
async def test_a_page_is_found_by_an_index(
    any_database: Database, somebody: Caller, wanted: Filter, index: str
) -> None:
    await execute(any_database, "ALTER TABLE tasks DISABLE TRIGGER USER")
    await execute(
        any_database,
        "INSERT INTO tasks (id, owner_id, backend, lane, name, tags, document, cpu_cores, ram_gb, state, created_at) "
        "SELECT gen_random_uuid(), :owner, 'fake', 'task', kind || n, jsonb_build_object('a', kind), '{}', 1, 1, "
        "       'COMPLETE', now() + n * interval '1 s' "
        "FROM generate_series(1, 20000) n, LATERAL (SELECT CASE WHEN n <= 5 THEN 'rare' ELSE 'common' END AS kind) _",
        owner=somebody.owner.id,
    )
    await execute(any_database, "ANALYZE tasks")
    where, values = conditions(somebody, wanted)
    plan = await any_database.fetch(
        f"EXPLAIN SELECT id FROM tasks WHERE {where} ORDER BY created_at DESC, id DESC LIMIT 257", *values
    )
    assert index in "\n".join(row[0] for row in plan)


@pytest.mark.parametrize(
    ("wanted", "fitting", "index"),
    [
        (Filter(words=("rare", "common")), [0, SAMPLE], "ix_runs_words"),
        (Filter(tags=(("a", "rare"),), words=("common",)), [5, SAMPLE], "ix_runs_tags"),
        (Filter("rare", State.COMPLETE, words=("ra",)), [0, SAMPLE], "ix_runs_name"),
    ],
)
async def test_runs_that_few_fit_are_found_by_an_index(
    any_database: Database, somebody: Caller, wanted: Filter, fitting: list[int], index: str
) -> None:
    await execute(any_database, "ALTER TABLE runs DISABLE TRIGGER USER")
    await execute(
        any_database,
        "INSERT INTO runs (id, owner_id, backend, directory, name, tags, words, document, state, created_at) "
        "SELECT gen_random_uuid(), :owner, 'fake', '', kind || n, jsonb_build_object('a', kind), "
        "       array_to_tsvector(ARRAY['common', kind]), '{}', 'COMPLETE', now() + n * interval '1 s' "
        "FROM generate_series(1, 20000) n, LATERAL (SELECT CASE WHEN n <= 5 THEN 'rare' ELSE 'common' END AS kind) _",
        owner=somebody.owner.id,
    )
    await execute(any_database, "ANALYZE runs")
    asked = where(somebody, wanted, kind=Kind.RUN)
    statement = pages.by_index("runs", "id", asked, fitting, 100)
    assert statement.count("IS TRUE") == fitting.count(SAMPLE)
    plan = "\n".join(row[0] for row in await any_database.fetch(f"EXPLAIN ANALYZE {statement}", *asked.values))
    assert index in plan
    assert len(await any_database.fetch(statement, *asked.values)) == 5
