"""What a submit says of where a run comes from, checked as far as can be at once: whoever fetches it checks again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import Store
from wesgate.sources import allowed, kinds, urls, zips
from wesgate.sources.kinds import Attachment, Git, Source, Zip

Uploads: TypeAlias = Mapping[tuple[str, ...], BinaryIO]
"""The attachments, by the parts of their names."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the site lets be fetched: objects from its stores, files from private hosts, and the workflows on its list,
    if it keeps one."""

    stores: Sequence[Store]
    allow_private: bool
    allowed: Sequence[str]


async def check(workflow_url: str, inputs_url: str, uploads: Uploads, rules: Rules) -> None:
    """InvalidRequest, with a sentence, for a workflow or inputs (empty for none) that cannot be had from here."""
    workflow = await _check(workflow_url, "workflow_url", uploads, rules)
    allowed.check(workflow, rules.allowed)
    if inputs_url:
        kinds.check_file(await _check(inputs_url, "inputs_url", uploads, rules), "inputs_url")


async def _check(url: str, what: str, uploads: Uploads, rules: Rules) -> Source:
    source = kinds.read(url, rules.stores, what)
    place = source.place if isinstance(source, Zip) else source
    if isinstance(place, Attachment):
        file = uploads.get(tuple(place.name.split("/")))
        if file is None:
            raise InvalidRequest(f"{what} is the name of no attachment, and no URL")
        if isinstance(source, Zip):
            await asyncio.to_thread(zips.entries, file)
    if isinstance(source, Git) and source.repository.startswith("http://") and not rules.allow_private:
        raise InvalidRequest(f"{what} names a git repository by http: only https is taken")
    if host := kinds.host_url(source):
        await urls.check(host, allow_private=rules.allow_private, what=what)
    return source
