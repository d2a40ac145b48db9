"""What a run may say of the runtime of its tasks, so that a mistake is told at its submit: as WDL and TES have it."""

from __future__ import annotations

import re
from typing import Any

from wesgate.engines.miniwdl.sizes import disk_gb, memory_gb
from wesgate.ga4gh.service_info import Member

MOST = 1_000_000
"""Cores, or GB: a TES task can ask for no more."""

_NAME = re.compile(r"[^\s-]\S{0,1023}")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_image_or_several(value: Any) -> bool:
    return bool(value) and all(map(_is_image, value)) if isinstance(value, list) else _is_image(value)


def _is_cores(value: Any) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None and _is_cores(float(value))
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MOST


def _is_memory(value: Any) -> bool:
    return _is_text_or_whole(value) and (memory_gb(str(value)) or MOST + 1) <= MOST


def _is_disks(value: Any) -> bool:
    return _is_text_or_whole(value) and (disk_gb(str(value)) or MOST + 1) <= MOST


def _is_text_or_whole(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


IMAGE = Member("the name of an image, without blanks", _is_image)

_IMAGES = Member("the name of an image, without blanks, or a list of such names", _is_image_or_several)
_COUNT = Member(f"a whole number from 0 to {MOST}", _is_count)

RUNTIME_DEFAULTS = {
    "docker": _IMAGES,
    "container": _IMAGES,
    "cpu": Member(f"a number of cores, more than 0 and at most {MOST}", _is_cores),
    "memory": Member(f"a size such as '4 GiB', at most {MOST} GB", _is_memory),
    "disks": Member(f"a size such as '10 GiB' or 'local-disk 10 SSD', at most {MOST} GB", _is_disks),
    "maxRetries": _COUNT,
    "preemptible": _COUNT,
}
"""What `runtime_defaults` may say of tasks that do not say it themselves."""
