"""Which workflows a site lets run, where it keeps a list: by the beginning of their URL, by repository, by digest."""

from __future__ import annotations

from collections.abc import Sequence

from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import Store
from wesgate.core.stores import store_for
from wesgate.sources import kinds
from wesgate.sources.kinds import Source

DIGEST = "sha256:"
NOT_ALLOWED = "is not among those that this site allows: ask its operator for the setting sources.allowed"


def check(source: Source, allowed: Sequence[str]) -> None:
    """InvalidRequest for a workflow that cannot be on the list. One that only its digest can tell passes here, and
    `check_digest` decides once it was read."""
    if not _is_named(source, allowed) and not any(entry.startswith(DIGEST) for entry in allowed):
        raise InvalidRequest(f"workflow_url {NOT_ALLOWED}")


def check_digest(source: Source, digest: str, allowed: Sequence[str]) -> None:
    """InvalidRequest for a workflow that is on the list neither by its name nor by this digest."""
    if not _is_named(source, allowed) and f"{DIGEST}{digest}" not in allowed:
        raise InvalidRequest(f"the workflow, {DIGEST}{digest}, {NOT_ALLOWED}")


def _is_named(source: Source, allowed: Sequence[str]) -> bool:
    entries = [Store(entry.removesuffix(".git")) for entry in allowed if not entry.startswith(DIGEST)]
    return not allowed or any(store_for(name, entries) for name in kinds.names(source))
