"""What a task was promised when it was created, GPUs among the slots, and indexes for lists. Expands.

`wesgate_admit` gets a variant with GPUs beside the one that older processes call; `wesgate_after_state` says the same
as before, and stays when this is taken back.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

KINDS = ("run", "task", "instance")

ADMIT = """
CREATE FUNCTION wesgate_admit(
    of_backend text, of_lane text, max_jobs int, max_cores float, max_ram float, max_gpus int, most int
) RETURNS int LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan  -- a plan for any line takes a hundred times as long with a thousand waiting
AS $$
DECLARE
    admitted int;
BEGIN
    PERFORM 1 FROM tasks
    WHERE backend = of_backend AND lane = of_lane AND admitted_at IS NULL AND state = 'QUEUED' LIMIT 1;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- what follows sees what the last holder of this lock committed
    PERFORM pg_advisory_xact_lock(hashtextextended('slots ' || of_backend || ' ' || of_lane, 0));
    WITH placed AS (
        SELECT owner_id, count(*) AS jobs, sum(cpu_cores) AS cores, sum(ram_gb) AS ram, sum(gpus) AS gpus
        FROM tasks
        WHERE backend = of_backend AND lane = of_lane AND admitted_at IS NOT NULL AND ended_at IS NULL
        GROUP BY owner_id
    ), line AS (
        -- whoever has least comes first: a long line of one owner does not delay another's first task
        SELECT first.id, first.cpu_cores, first.ram_gb, first.gpus,
               row_number() OVER (ORDER BY coalesce(placed.jobs, 0) + first.place, first.created_at, first.id) AS turn
        FROM owners
        LEFT JOIN placed ON placed.owner_id = owners.id
        CROSS JOIN LATERAL (
            SELECT id, cpu_cores, ram_gb, gpus, created_at, row_number() OVER (ORDER BY created_at, id) AS place
            FROM tasks
            WHERE backend = of_backend AND lane = of_lane AND owner_id = owners.id
              AND admitted_at IS NULL AND state = 'QUEUED'
            ORDER BY created_at, id
            LIMIT most
        ) AS first
        ORDER BY turn
        LIMIT most
    ), summed AS (
        -- each with all before it and all that is placed; a task larger than the whole lane counts as the whole lane,
        -- and so gets it to itself
        SELECT id,
               (SELECT coalesce(sum(jobs), 0) FROM placed) + count(*) OVER up_to AS jobs,
               (SELECT coalesce(sum(cores), 0) FROM placed) + sum(least(cpu_cores, max_cores)) OVER up_to AS cores,
               (SELECT coalesce(sum(ram), 0) FROM placed) + sum(least(ram_gb, max_ram)) OVER up_to AS ram,
               (SELECT coalesce(sum(gpus), 0) FROM placed) + sum(least(gpus, max_gpus)) OVER up_to AS gpus
        FROM line
        WINDOW up_to AS (ORDER BY turn ROWS UNBOUNDED PRECEDING)
    )
    -- the sums only grow: the first who does not fit ends the line, so that a large task is not overtaken for ever
    UPDATE tasks SET admitted_at = now(), due_at = now()
    FROM summed
    WHERE tasks.id = summed.id AND tasks.admitted_at IS NULL AND tasks.state = 'QUEUED'
      AND summed.jobs <= coalesce(max_jobs, summed.jobs)
      AND summed.cores <= coalesce(max_cores, summed.cores) + 1e-9
      AND summed.ram <= coalesce(max_ram, summed.ram) + 1e-9
      AND summed.gpus <= coalesce(max_gpus, summed.gpus);
    GET DIAGNOSTICS admitted = ROW_COUNT;
    RETURN admitted;
END
$$
"""

# As before, but for the one line on `run`: a document is not turned into another form to read a column beside it.
TELL = """
CREATE OR REPLACE FUNCTION wesgate_after_state() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text := TG_ARGV[0];
    run text;
BEGIN
    IF kind = 'task' THEN
        run := NEW.run_id;
    END IF;
    INSERT INTO history (row_id, kind, state, detail) VALUES (NEW.id, kind, NEW.state, NEW.detail);
    IF TG_OP = 'INSERT' OR NEW.state = 'CANCELING' THEN
        PERFORM pg_notify('wesgate_due', kind);
    ELSIF NEW.ended_at IS NOT NULL AND kind = 'task' THEN
        -- a slot is free, and a run whose head ended has something to be told
        PERFORM pg_notify('wesgate_due', kind);
        IF NEW.lane = 'head' THEN
            PERFORM pg_notify('wesgate_due', 'run ' || run);
        END IF;
    END IF;
    PERFORM pg_notify('wesgate_events', concat_ws(' ', kind, NEW.id, NEW.owner_id, NEW.state, coalesce(run, '-')));
    IF kind = 'run' AND NEW.ended_at IS NOT NULL THEN
        UPDATE tasks SET state = 'CANCELING', detail = 'its run ended'
        WHERE run_id = NEW.id AND ended_at IS NULL AND state <> 'CANCELING';
    END IF;
    RETURN NULL;
END
$$
"""


def number(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def upgrade() -> None:
    # Indexes first: while they are built rows are read, though not written. What locks readers out comes last.
    newest = [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]
    op.create_index("ix_tasks_state", "tasks", ["owner_id", "state", *newest])
    # as much of a name as an entry of an index is sure to hold
    begin = sa.literal_column("left(name, 64)").label("begin")
    op.create_index("ix_tasks_name", "tasks", ["owner_id", begin], postgresql_ops={"begin": "text_pattern_ops"})
    # the one of 0001 knows pairs alone, and a list may ask for a key
    op.create_index("ix_tasks_tags_and_keys", "tasks", ["tags"], postgresql_using="gin")
    op.drop_index("ix_tasks_tags", "tasks")
    op.execute("ALTER INDEX ix_tasks_tags_and_keys RENAME TO ix_tasks_tags")
    for kind in KINDS:
        op.add_column(f"{kind}s", number("preemptions"))
        op.add_column(f"{kind}s", number("max_preemptions"))
    op.add_column("tasks", number("gpus"))
    op.add_column("tasks", sa.Column("policy", JSONB(), server_default="{}", nullable=False))
    op.add_column("tasks", sa.Column("submitter", sa.Text(), server_default="", nullable=False))
    op.add_column("tasks", sa.Column("warnings", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.execute(ADMIT)
    op.execute(TELL)


def downgrade() -> None:
    op.drop_index("ix_tasks_name", "tasks")
    op.drop_index("ix_tasks_state", "tasks")
    op.drop_index("ix_tasks_tags", "tasks")
    op.create_index(
        "ix_tasks_tags", "tasks", ["tags"], postgresql_using="gin", postgresql_ops={"tags": "jsonb_path_ops"},
    )  # fmt: skip
    op.execute("DROP FUNCTION wesgate_admit(text, text, int, float, float, int, int)")
    for name in ("warnings", "submitter", "policy", "gpus"):
        op.drop_column("tasks", name)
    for kind in KINDS:
        op.drop_column(f"{kind}s", "max_preemptions")
        op.drop_column(f"{kind}s", "preemptions")
