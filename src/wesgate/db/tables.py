"""The tables. Rows of the three kinds share one set of columns, so that one loop serves all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Label,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, registry

from wesgate.core.states import State

_STATES = ", ".join(f"'{state}'" for state in State if state is not State.UNKNOWN)
_NOW = text("now()")


class Base(DeclarativeBase):
    """Column types by annotation; constraint names by rule, so that a migration can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        },
    )
    registry = registry(type_annotation_map={datetime: DateTime(timezone=True), str: Text(), dict[str, Any]: JSON()})


class OwnerRow(Base):
    """Who rows belong to."""

    __tablename__ = "owners"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    tenant: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class Wanted:
    """The columns of everything that is wanted: whose, how it stands, who is working on it until when.

    `document` is what was asked for, as `ga4gh` renders it; `due_at` is null for a row that wants nothing more (it
    ended, or waits for a slot); the lease columns are written by `leases` alone.
    """

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("owners.id"))
    backend: Mapped[str]
    document: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(server_default=State.QUEUED)
    detail: Mapped[str] = mapped_column(server_default="")
    state_since: Mapped[datetime] = mapped_column(server_default=_NOW)
    attempt: Mapped[int] = mapped_column(server_default="1")
    max_attempts: Mapped[int] = mapped_column(server_default="1")
    preemptions: Mapped[int] = mapped_column(server_default="0")
    max_preemptions: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime | None] = mapped_column(server_default=_NOW)
    failures: Mapped[int] = mapped_column(server_default="0")
    missing_since: Mapped[datetime | None]
    lease_holder: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    lease_epoch: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


def _shared(table: str) -> tuple[CheckConstraint | Index, ...]:
    """The constraints and indexes that every kind has."""
    return (
        CheckConstraint(f"state IN ({_STATES})", name="state"),
        CheckConstraint("(ended_at IS NULL) OR (due_at IS NULL)", name="ended_rows_are_never_due"),
        Index(f"ix_{table}_due", "backend", "due_at", postgresql_where=text("due_at IS NOT NULL")),
        Index(f"ix_{table}_newest", "owner_id", text("created_at DESC"), text("id DESC")),
    )


def _listed(table: str) -> tuple[Index, ...]:
    """The indexes of what clients list by state, by the beginning of a name and by tag."""
    begin: Label[str] = literal_column("left(name, 64)", Text()).label("begin")
    return (
        Index(f"ix_{table}_state", "owner_id", "state", text("created_at DESC"), text("id DESC")),
        Index(f"ix_{table}_name", "owner_id", begin, postgresql_ops={"begin": "text_pattern_ops"}),
        Index(f"ix_{table}_tags", "tags", postgresql_using="gin"),
    )


class RunRow(Wanted, Base):
    """One WES run. `tags` is a copy of the document's, for the index; `directory` is relative to the shared root;
    `words` is what a search finds it by; `settle_at` is when something is to be done about a run that ended."""

    __tablename__ = "runs"
    __table_args__ = (
        *_shared("runs"),
        *_listed("runs"),
        Index("ix_runs_words", "words", postgresql_using="gin"),
        Index("ix_runs_settle", "settle_at", postgresql_where=text("settle_at IS NOT NULL")),
        Index("ix_runs_new_end", "settle_at", postgresql_where=text("settle_at <= ended_at")),
        Index("uq_runs_key", "owner_id", "idempotency_key", unique=True,
              postgresql_where=text("idempotency_key IS NOT NULL")),
    )  # fmt: skip

    directory: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, Any]] = mapped_column(JSONB)
    words: Mapped[str] = mapped_column(TSVECTOR, server_default=text("''::tsvector"))
    settle_at: Mapped[datetime | None]
    idempotency_key: Mapped[str | None]
    body_digest: Mapped[str | None]


class TaskRow(Wanted, Base):
    """One TES task. `cpu_cores`, `ram_gb` and `gpus` are what it takes from its lane's slots; `admitted_at` is when it
    got them; `token_hash` (SHA-256, hex) is a head's, with which it makes tasks of its run. `policy` is
    `core.spec.Policy`; `submitter` names its dialect (`ga4gh.dialects`)."""

    __tablename__ = "tasks"
    __table_args__ = (
        *_shared("tasks"),
        Index("ix_tasks_run", "run_id", "created_at", "id", postgresql_where=text("run_id IS NOT NULL")),
        Index(
            "ix_tasks_waiting", "backend", "lane", "owner_id", "created_at",
            postgresql_where=text("admitted_at IS NULL AND state = 'QUEUED'"),
        ),
        Index(
            "ix_tasks_placed", "backend", "lane",
            postgresql_where=text("admitted_at IS NOT NULL AND ended_at IS NULL"),
        ),
        *_listed("tasks"),
        Index("uq_tasks_key", "owner_id", "idempotency_key", unique=True,
              postgresql_where=text("idempotency_key IS NOT NULL")),
        Index("uq_tasks_token", "token_hash", unique=True, postgresql_where=text("token_hash IS NOT NULL")),
    )  # fmt: skip

    run_id: Mapped[UUID | None] = mapped_column(ForeignKey("runs.id"))
    lane: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    tags: Mapped[dict[str, Any]] = mapped_column(JSONB)
    cpu_cores: Mapped[float] = mapped_column(Float)
    ram_gb: Mapped[float] = mapped_column(Float)
    gpus: Mapped[int] = mapped_column(server_default="0")
    policy: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    submitter: Mapped[str] = mapped_column(server_default="")
    warnings: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    admitted_at: Mapped[datetime | None]
    token_hash: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    body_digest: Mapped[str | None]


class ReuseRow(Base):
    """A run that took from the call cache what another, its source, had made, and reads the source's files."""

    __tablename__ = "reuses"

    source_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    run_id: Mapped[UUID] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)


class InstanceRow(Wanted, Base):
    """Something of an owner's own: their Cromwell, their Batch account."""

    __tablename__ = "instances"
    __table_args__ = (*_shared("instances"), UniqueConstraint("owner_id", "type", "name"))

    type: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")


class AttemptRow(Base):
    """One try of a row at a backend: no row is PLANNED, a null handle SUBMITTING, a handle SUBMITTED."""

    __tablename__ = "attempts"

    row_id: Mapped[UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str]
    handle: Mapped[str | None]
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class HistoryRow(Base):
    """Every state a row ever had, written by the database itself."""

    __tablename__ = "history"
    __table_args__ = (Index("ix_history_row", "row_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    row_id: Mapped[UUID]
    kind: Mapped[str]
    state: Mapped[str]
    detail: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=_NOW)


class AuditRow(Base):
    """Who asked for what: one row for every request that changes something; never a secret in it."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_row", "row_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=_NOW)
    owner_id: Mapped[UUID]
    action: Mapped[str]
    row_id: Mapped[UUID]


class WebhookRow(Base):
    """Where an owner wants to be told of state changes of runs. No `states` means all; `secret` signs what is sent."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_owner", "owner_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    owner_id: Mapped[UUID] = mapped_column(ForeignKey("owners.id"))
    url: Mapped[str]
    secret: Mapped[str]
    states: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    created_at: Mapped[datetime] = mapped_column(server_default=_NOW)


class DeliveryRow(Base):
    """One state change that a webhook has not been told of yet, written by the database itself."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_oldest", "webhook_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    run_id: Mapped[UUID]
    state: Mapped[str]
    detail: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=_NOW)
    due_at: Mapped[datetime] = mapped_column(server_default=_NOW)
    failures: Mapped[int] = mapped_column(server_default="0")


class ServiceRow(Base):
    """What all processes of one service share: the key that signs page tokens."""

    __tablename__ = "service"
    __table_args__ = (CheckConstraint("single", name="single"),)

    single: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    signing_key: Mapped[bytes] = mapped_column(LargeBinary)
