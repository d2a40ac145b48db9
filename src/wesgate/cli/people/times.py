"""Times as people type them: RFC 3339, a day, or how long ago."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

from wesgate.cli.errors import UsageProblem
from wesgate.cli.text import one_line

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(
    r"(\d{1,6})\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?|w|weeks?)(?:\s+ago)?", re.ASCII | re.IGNORECASE
)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def rfc3339(text: str, option: str, now: datetime, *, end_of_day: bool = False) -> str:
    """The moment that a text means, in UTC: a time (in the reader's own zone where it says none), a day (its
    beginning, or its end), or `2 days`, `3h`, `90 min` before now."""
    return _moment(text.strip(), option, now, end_of_day).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(text: str, option: str, now: datetime, end_of_day: bool) -> datetime:
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago.group(2)[0].lower()]: int(ago.group(1))})
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1 if end_of_day else 0)
            return datetime.combine(day, time()).astimezone()
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        raise UsageProblem(
            f"{option} {one_line(text, 40)!r} is no time: write 2026-11-21, 2026-11-21T08:00:00Z, '2 days' or 3h"
        ) from None
