"""Runs that can be found, webhooks, and what is done once a run has ended. Expands.

A run of an older process has no name and no words: lists show it, and a search does not find it. `settle_at` is set by
the database, so that runs which older processes end are settled as well.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

ENDED = "'COMPLETE', 'EXECUTOR_ERROR', 'SYSTEM_ERROR', 'CANCELED', 'PREEMPTED'"

SETTLE = """
CREATE FUNCTION wesgate_settle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.settle_at := now();
    RETURN NEW;
END
$$
"""

DELIVER = """
CREATE FUNCTION wesgate_deliver() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- in the transaction of the change itself: what happened is told, and nothing is told that did not happen
    INSERT INTO deliveries (webhook_id, run_id, state, detail, at)
    SELECT id, NEW.id, NEW.state, NEW.detail, clock_timestamp()
    FROM webhooks WHERE owner_id = NEW.owner_id AND (states = '{}' OR NEW.state = ANY(states));
    IF FOUND THEN
        PERFORM pg_notify('wesgate_deliveries', '');
    END IF;
    RETURN NULL;
END
$$
"""

TRIGGERS = f"""
CREATE TRIGGER wesgate_settle BEFORE UPDATE OF state ON runs FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.state IN ({ENDED})) EXECUTE FUNCTION wesgate_settle();
CREATE TRIGGER wesgate_deliver AFTER UPDATE OF state ON runs FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION wesgate_deliver();
CREATE TRIGGER wesgate_deliver_first AFTER INSERT ON runs FOR EACH ROW EXECUTE FUNCTION wesgate_deliver()
"""


def moment(name: str, *, now: bool = False) -> sa.Column:
    default = sa.text("now()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), server_default=default, nullable=not now)


def create_webhooks() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("states", sa.ARRAY(sa.Text()), server_default="{}", nullable=False),
        moment("created_at", now=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owners.id"], name=op.f("fk_webhooks_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index("ix_webhooks_owner", "webhooks", ["owner_id"])
    op.create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("webhook_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        moment("at", now=True),
        moment("due_at", now=True),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_due", "deliveries", ["due_at"])
    op.create_index("ix_deliveries_webhook", "deliveries", ["webhook_id"])


def index_runs() -> None:
    newest = [sa.literal_column("created_at DESC"), sa.literal_column("id DESC")]
    op.create_index("ix_runs_state", "runs", ["owner_id", "state", *newest])
    begin = sa.literal_column("left(name, 64)").label("begin")
    op.create_index("ix_runs_name", "runs", ["owner_id", begin], postgresql_ops={"begin": "text_pattern_ops"})
    op.create_index("ix_runs_tags", "runs", ["tags"], postgresql_using="gin")
    op.create_index("ix_runs_words", "runs", ["words"], postgresql_using="gin")
    where = sa.text("settle_at IS NOT NULL")
    op.create_index("ix_runs_settle", "runs", ["settle_at"], postgresql_where=where)


def upgrade() -> None:
    op.add_column("runs", sa.Column("name", sa.Text(), server_default="", nullable=False))
    words = sa.Column("words", postgresql.TSVECTOR(), server_default=sa.text("''::tsvector"), nullable=False)
    op.add_column("runs", words)
    op.add_column("runs", moment("settle_at"))
    index_runs()
    create_webhooks()
    op.execute(SETTLE)
    op.execute(DELIVER)
    for statement in TRIGGERS.strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    for trigger in ("wesgate_deliver_first", "wesgate_deliver", "wesgate_settle"):
        op.execute(f"DROP TRIGGER {trigger} ON runs")
    op.execute("DROP FUNCTION wesgate_deliver()")
    op.execute("DROP FUNCTION wesgate_settle()")
    op.drop_table("deliveries")
    op.drop_table("webhooks")
    for index in ("ix_runs_settle", "ix_runs_words", "ix_runs_tags", "ix_runs_name", "ix_runs_state"):
        op.drop_index(index, "runs")
    for column in ("settle_at", "words", "name"):
        op.drop_column("runs", column)
