"""From the Authorization header to the caller: an owner, or a head in the name of its run."""

from __future__ import annotations

import hashlib
import re

from wesgate.core.errors import NotAuthenticated
from wesgate.core.owner import Caller, Owner
from wesgate.db import owners
from wesgate.db.session import Database

RUN_TOKEN_PREFIX = "wgr_"  # noqa: S105  # how a run token begins, not a token
_RUN_TOKEN = re.compile(r"wgr_[A-Za-z0-9_-]{20,200}")

LOCAL_ISSUER = "local"


class Callers:
    """Who makes a request, in local mode: whoever reaches the service is its one owner, so it must be bound to
    loopback; other credentials are not looked at (clients send `Basic None:None` when they have none). A run token is
    always looked at: what a head asks for is done in its run's name, or not at all."""

    def __init__(self, database: Database, local: Owner) -> None:
        self._database = database
        self._local = Caller(local)

    async def of(self, authorization: str | None) -> Caller:
        """The caller with this Authorization header; the owner of tasks made in its name."""
        token = _bearer(authorization)
        if not token.startswith(RUN_TOKEN_PREFIX):
            return self._local
        found = await owners.by_run_token(self._database, token_hash(token)) if _RUN_TOKEN.fullmatch(token) else None
        if found is None:
            raise NotAuthenticated("this run token is unknown, or its run has ended")
        return found


def token_hash(token: str) -> str:
    """What the database knows of a run token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
