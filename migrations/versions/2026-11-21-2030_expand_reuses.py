"""Which runs took from the call cache what others had made, and indexes for what waits. Expands.

Runs of an older process note no reuse: nobody waits for them before removing what they took. The indexes that are
replaced or dropped are of no use to older processes that the new ones are not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "reuses",
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["runs.id"], name=op.f("fk_reuses_source_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_reuses_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source_id", "run_id", name=op.f("pk_reuses")),
    )
    op.create_index("ix_runs_new_end", "runs", ["settle_at"], postgresql_where=sa.text("settle_at <= ended_at"))
    op.create_index("ix_deliveries_oldest", "deliveries", ["webhook_id", "id"])
    op.drop_index("ix_deliveries_webhook", "deliveries")
    op.drop_index("ix_deliveries_due", "deliveries")


def downgrade() -> None:
    op.create_index("ix_deliveries_due", "deliveries", ["due_at"])
    op.create_index("ix_deliveries_webhook", "deliveries", ["webhook_id"])
    op.drop_index("ix_deliveries_oldest", "deliveries")
    op.drop_index("ix_runs_new_end", "runs")
    op.drop_table("reuses")
