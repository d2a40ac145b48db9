"""Whose a row is."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Owner:
    """One identity: an issuer's subject, belonging to a tenant. `id` names the owner's directory and rows."""

    id: UUID
    issuer: str
    subject: str
    tenant: str = ""

    @property
    def directory(self) -> str:
        return self.id.hex


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request: an owner, or a head job in the name of one run of that owner."""

    owner: Owner
    run_id: UUID | None = None
