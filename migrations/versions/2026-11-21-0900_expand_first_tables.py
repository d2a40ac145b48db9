"""The first tables, and the rules that the database itself keeps. Expands.

The triggers are the second wall behind `wesgate.core.states`: a state may only follow as TRANSITIONS says, an ended
row is never due and never leased, every state is recorded, whoever waits is told, and a run that ended leaves no task
running. What a notification says is only ever "look": nothing is lost when one is.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

STATES = (
    "'QUEUED', 'INITIALIZING', 'RUNNING', 'PAUSED', 'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'CANCELED', "
    "'PREEMPTED', 'CANCELING'"
)
ENDED = "'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'CANCELED', 'PREEMPTED'"
NOW = sa.text("now()")
KINDS = ("run", "task", "instance")

RULES = f"""
CREATE FUNCTION wesgate_may_become(old text, new text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE old
        WHEN 'QUEUED' THEN new IN ('INITIALIZING', 'RUNNING', 'PAUSED', 'CANCELING',
                                   'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'PREEMPTED')
        WHEN 'INITIALIZING' THEN new IN ('RUNNING', 'PAUSED', 'CANCELING',
                                         'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'PREEMPTED')
        WHEN 'PAUSED' THEN new IN ('RUNNING', 'CANCELING', 'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'PREEMPTED')
        WHEN 'RUNNING' THEN new IN ('CANCELING', 'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'PREEMPTED')
        WHEN 'CANCELING' THEN new = 'CANCELED'
        ELSE false
    END
$$;

CREATE FUNCTION wesgate_before_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT wesgate_may_become(OLD.state, NEW.state) THEN
        RAISE EXCEPTION 'a % row may not become %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
    NEW.state_since := clock_timestamp();
    IF NEW.state NOT IN ('QUEUED', 'CANCELING', 'CANCELED') AND NEW.started_at IS NULL THEN
        NEW.started_at := NEW.state_since;
    END IF;
    IF NEW.state = 'CANCELING' THEN
        NEW.due_at := NEW.state_since;
    ELSIF NEW.state IN ({ENDED}) THEN
        NEW.ended_at := NEW.state_since;
        NEW.due_at := NULL;
        NEW.lease_holder := NULL;
        NEW.lease_until := NULL;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION wesgate_after_state() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind text := TG_ARGV[0];
    run text := to_jsonb(NEW)->>'run_id';
BEGIN
    INSERT INTO history (row_id, kind, state, detail) VALUES (NEW.id, kind, NEW.state, NEW.detail);
    IF TG_OP = 'INSERT' OR NEW.state = 'CANCELING' THEN
        PERFORM pg_notify('wesgate_due', kind);
    ELSIF NEW.ended_at IS NOT NULL AND kind = 'task' THEN
        -- a slot is free, and a run whose head ended has something to be told
        PERFORM pg_notify('wesgate_due', kind);
        IF to_jsonb(NEW)->>'lane' = 'head' THEN
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
$$;
"""

ADMIT = """
CREATE FUNCTION wesgate_admit(of_backend text, of_lane text, max_jobs int, max_cores float, max_ram float, most int)
RETURNS int LANGUAGE plpgsql AS $$
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
        SELECT owner_id, count(*) AS jobs, sum(cpu_cores) AS cores, sum(ram_gb) AS ram
        FROM tasks
        WHERE backend = of_backend AND lane = of_lane AND admitted_at IS NOT NULL AND ended_at IS NULL
        GROUP BY owner_id
    ), line AS (
        -- whoever has least comes first: a long line of one owner does not delay another's first task
        SELECT first.id, first.cpu_cores, first.ram_gb,
               row_number() OVER (ORDER BY coalesce(placed.jobs, 0) + first.place, first.created_at, first.id) AS turn
        FROM owners
        LEFT JOIN placed ON placed.owner_id = owners.id
        CROSS JOIN LATERAL (
            SELECT id, cpu_cores, ram_gb, created_at, row_number() OVER (ORDER BY created_at, id) AS place
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
               (SELECT coalesce(sum(ram), 0) FROM placed) + sum(least(ram_gb, max_ram)) OVER up_to AS ram
        FROM line
        WINDOW up_to AS (ORDER BY turn ROWS UNBOUNDED PRECEDING)
    )
    -- the sums only grow: the first who does not fit ends the line, so that a large task is not overtaken for ever
    UPDATE tasks SET admitted_at = now(), due_at = now()
    FROM summed
    WHERE tasks.id = summed.id AND tasks.admitted_at IS NULL AND tasks.state = 'QUEUED'
      AND summed.jobs <= coalesce(max_jobs, summed.jobs)
      AND summed.cores <= coalesce(max_cores, summed.cores) + 1e-9
      AND summed.ram <= coalesce(max_ram, summed.ram) + 1e-9;
    GET DIAGNOSTICS admitted = ROW_COUNT;
    RETURN admitted;
END
$$;
"""

TRIGGERS = """
CREATE TRIGGER wesgate_before_state BEFORE UPDATE OF state ON {kind}s FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION wesgate_before_state();
CREATE TRIGGER wesgate_after_state AFTER UPDATE OF state ON {kind}s FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION wesgate_after_state('{kind}');
CREATE TRIGGER wesgate_after_insert AFTER INSERT ON {kind}s FOR EACH ROW
    EXECUTE FUNCTION wesgate_after_state('{kind}');
"""


def moment(name: str, *, now: bool = False) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=NOW if now else None, nullable=not now)


def words(name: str, *, default: str | None = None, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), server_default=default, nullable=nullable)


def number(name: str, kind: type[sa.Integer], default: str) -> sa.Column:
    return sa.Column(name, kind(), server_default=default, nullable=False)


def create_kind(kind: str, *own: sa.schema.SchemaItem) -> None:
    table = f"{kind}s"
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        words("backend"),
        sa.Column("document", sa.JSON(), nullable=False),
        words("state", default="QUEUED"),
        words("detail", default=""),
        moment("state_since", now=True),
        number("attempt", sa.Integer, "1"),
        number("max_attempts", sa.Integer, "1"),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=NOW, nullable=True),
        number("failures", sa.Integer, "0"),
        moment("missing_since"),
        words("lease_holder", nullable=True),
        moment("lease_until"),
        number("lease_epoch", sa.BigInteger, "0"),
        moment("created_at", now=True),
        moment("started_at"),
        moment("ended_at"),
        *own,
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f(f"ck_{table}_state")),
        sa.CheckConstraint(
            "(ended_at IS NULL) OR (due_at IS NULL)", name=op.f(f"ck_{table}_ended_rows_are_never_due"),
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f(f"fk_{table}_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    )  # fmt: skip
    op.create_index(f"ix_{table}_due", table, ["backend", "due_at"], postgresql_where=sa.text("due_at IS NOT NULL"))
    newest = ["owner_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]
    op.create_index(f"ix_{table}_newest", table, newest)


def create_owners_and_service() -> None:
    op.create_table(
        "owners",
        sa.Column("id", sa.Uuid(), nullable=False),
        words("issuer"),
        words("subject"),
        words("tenant", default=""),
        moment("created_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_owners")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_owners_issuer_subject")),
    )
    op.create_table(
        "service",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("signing_key", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("single", name=op.f("ck_service_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_service")),
    )
    op.execute("INSERT INTO service (signing_key) SELECT uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())")


def create_records() -> None:
    op.create_table(
        "attempts",
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        words("kind"),
        words("handle", nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("row_id", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "history",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        words("kind"),
        words("state"),
        words("detail"),
        moment("at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_history")),
    )
    op.create_index("ix_history_row", "history", ["row_id", "id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        moment("at", now=True),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        words("action"),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_row", "audit", ["row_id"])


def create_runs() -> None:
    create_kind(
        "run",
        words("directory"),
        sa.Column("tags", postgresql.JSONB(), nullable=False),
        words("idempotency_key", nullable=True),
        words("body_digest", nullable=True),
    )
    unique_key("runs", "uq_runs_key", "owner_id", "idempotency_key")


def create_tasks() -> None:
    create_kind(
        "task",
        sa.Column("run_id", sa.Uuid(), nullable=True),
        words("lane"),
        words("name", default=""),
        sa.Column("tags", postgresql.JSONB(), nullable=False),
        sa.Column("cpu_cores", sa.Float(), nullable=False),
        sa.Column("ram_gb", sa.Float(), nullable=False),
        moment("admitted_at"),
        words("token_hash", nullable=True),
        words("idempotency_key", nullable=True),
        words("body_digest", nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_tasks_run_id")),
    )
    unique_key("tasks", "uq_tasks_key", "owner_id", "idempotency_key")
    unique_key("tasks", "uq_tasks_token", "token_hash")
    where = sa.text("run_id IS NOT NULL")
    op.create_index("ix_tasks_run", "tasks", ["run_id", "created_at", "id"], postgresql_where=where)
    where = sa.text("admitted_at IS NULL AND state = 'QUEUED'")
    op.create_index("ix_tasks_waiting", "tasks", ["backend", "lane", "owner_id", "created_at"], postgresql_where=where)
    where = sa.text("admitted_at IS NOT NULL AND ended_at IS NULL")
    op.create_index("ix_tasks_placed", "tasks", ["backend", "lane"], postgresql_where=where)
    op.create_index(
        "ix_tasks_tags", "tasks", ["tags"], postgresql_using="gin", postgresql_ops={"tags": "jsonb_path_ops"},
    )  # fmt: skip


def unique_key(table: str, name: str, *columns: str) -> None:
    where = sa.text(f"{columns[-1]} IS NOT NULL")
    op.create_index(name, table, list(columns), unique=True, postgresql_where=where)


def upgrade() -> None:
    create_owners_and_service()
    create_records()
    create_runs()
    create_tasks()
    create_kind(
        "instance",
        words("type"),
        words("name", default=""),
        sa.UniqueConstraint("owner_id", "type", "name", name=op.f("uq_instances_owner_id_type_name")),
    )
    for statement in RULES.strip().split("\n\n"):
        op.execute(statement)
    op.execute(ADMIT)
    for kind in KINDS:
        for statement in TRIGGERS.format(kind=kind).strip().split(";\n"):
            op.execute(statement)


def downgrade() -> None:
    for table in ("instances", "tasks", "runs", "attempts", "history", "audit", "service", "owners"):
        op.drop_table(table)
    for function in (
        "wesgate_admit(text, text, int, float, float, int)",
        "wesgate_after_state()",
        "wesgate_before_state()",
        "wesgate_may_become(text, text)",
    ):
        op.execute(f"DROP FUNCTION {function}")
