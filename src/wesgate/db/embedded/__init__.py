"""A Postgres of our own, where no database is configured."""

from wesgate.db.embedded.server import DATABASE, EmbeddedPostgres, start

__all__ = ["DATABASE", "EmbeddedPostgres", "start"]
