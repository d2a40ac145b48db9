"""Sizes as WDL's runtime sections write them, in GB (10^9 bytes)."""

from __future__ import annotations

import re

_SIZE = r"(?P<number>[0-9]+(\.[0-9]+)?)\s*(?P<unit>[KMGTP]i?B?|B)?"
_DISK = re.compile(_SIZE, re.IGNORECASE)
_MEMORY = re.compile(_SIZE.replace("TP", "T"))  # miniwdl reads no other units, and none in lower case
_KINDS = frozenset({"HDD", "SSD", "LOCAL"})


def memory_gb(text: str) -> float | None:
    """The size of `4 GiB`, or of `4000000000`, which is bytes; None for what is no size."""
    size = _MEMORY.fullmatch(text.strip())
    return _gb(size, "B") if size else None


def disk_gb(text: str) -> float | None:
    """The size of `100`, `100 GiB`, `/mnt/x 100 GiB` or `local-disk 100 SSD`, or of several of them with commas
    between; None for what is no size. A number without a unit is GiB (WDL 1.1, runtime.disks)."""
    total = 0.0
    for part in text.split(","):
        words = [word for word in part.split() if word.upper() not in _KINDS]
        if words and (words[0].startswith("/") or words[0] == "local-disk"):
            del words[0]
        size = _DISK.fullmatch(" ".join(words))
        if not size:
            return None
        total += _gb(size, "GiB")
    return total


def _gb(size: re.Match[str], unit: str) -> float:
    return float(size["number"]) * _bytes_in(size["unit"] or unit) / 1e9


def _bytes_in(unit: str) -> int:
    letter = unit[0].upper()
    if letter == "B":
        return 1
    base = 1024 if "i" in unit.lower() else 1000
    return int(base ** ("KMGTP".index(letter) + 1))
