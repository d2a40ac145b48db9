"""Text from servers, logs and files is shown as text: it never commands the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

_KEPT = {ord("\n"), ord("\t")}
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in _KEPT}
# Direction overrides make a line read otherwise than it is (CVE-2021-42574).
_DIRECTIONS = {code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)}
_SHOWN = {**_CONTROLS, **_DIRECTIONS}


def clean(text: str) -> str:
    """The text with every control character written out; lines and tabs stay."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole.replace("\r\n", "\n").replace("\r", "\n").translate(_SHOWN)


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most `limit` characters."""
    flat = " ".join(clean(text[: limit * 8]).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def tail(text: str, lines: int) -> list[str]:
    """The last lines of a log, cleaned, each cut to a bearable length."""
    return [line if len(line) <= 2000 else line[:1999] + "…" for line in clean(text).splitlines()[-lines:]]


def took(start: datetime | None, end: datetime | None) -> str:
    """How long something took: `4 s`, `2 min 05 s`, `3 h 12 min`; empty if it has not started."""
    if start is None or end is None:
        return ""
    seconds = max(0, round((end - start).total_seconds()))
    if seconds < 60:
        return f"{seconds} s" if seconds else "< 1 s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"


def size(count: float) -> str:
    """A number of bytes: `12 B`, `3.5 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} TB"


def moment(time: datetime | None) -> str:
    """A time in the reader's own zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def parse_time(value: Any) -> datetime | None:
    """An RFC 3339 time; without a zone it counts as UTC; anything else is None."""
    if not isinstance(value, str):
        return None
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as aligned columns, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
