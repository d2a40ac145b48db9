"""Log lines for operators: time, level, a word to search for, and fields."""

from __future__ import annotations

import json
import logging
import sys

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


class Fields(logging.Formatter):
    """`12:00:00 INFO  executor.ready runtime=podman`: values with spaces are quoted as JSON, so no value of a
    client's can begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        told = " ".join(f"{name}={_quoted(value)}" for name, value in fields.items())
        line = f"{self.formatTime(record, '%Y-%m-%d %H:%M:%S')} {record.levelname:7} {record.getMessage()} {told}"
        return line.rstrip() + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


def configure(level: str) -> None:
    """Log to stderr from this level up."""
    target = logging.StreamHandler(sys.stderr)
    target.setFormatter(Fields())
    logging.basicConfig(level=level, handlers=[target], force=True)
    for noisy in ("uvicorn.access", "uvicorn.error", "httpx", "alembic"):
        logging.getLogger(noisy).setLevel("WARNING")


def _quoted(value: object) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text and text else json.dumps(text)
