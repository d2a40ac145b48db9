"""The attachments of an earlier run, for one that goes on with it and sends none of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

from wesgate.core.errors import InvalidRequest
from wesgate.ga4gh import wes
from wesgate.sources.attachments import check_name


def named(run: Path, document: Mapping[str, Any], opened: ExitStack) -> dict[tuple[str, ...], BinaryIO]:
    """Those attachments of this run that a request names, open for as long as `opened` is."""
    found: dict[tuple[str, ...], BinaryIO] = {}
    for url in (document["workflow_url"], wes.terms(document).inputs_url):
        if not url or not wes.is_relative(url):
            continue
        parts = check_name(url)
        path = run.joinpath("attachments", *parts)
        with suppress(OSError):  # what cannot be read is not there, whatever the reason
            if path.is_file():  # a pipe, which tasks without mounts can put there, would be waited for
                found[parts] = opened.enter_context(path.open("rb"))
    return found


def check(sent: Mapping[tuple[str, ...], BinaryIO], document: Mapping[str, Any]) -> None:
    """InvalidRequest if the request sends nothing, and the run to resume has nothing of what it names."""
    if not sent and wes.is_relative(document["workflow_url"]):
        raise InvalidRequest(
            "workflow_url is the name of no attachment, also not of one that the run to resume still has:"
            " send the workflow again"
        )


def link(earlier: Path, run: Path) -> None:
    """Give a run the attachments of an earlier one: the same files, which stay when the earlier run's are removed."""
    try:
        shutil.copytree(earlier / "attachments", run / "attachments", symlinks=True, copy_function=os.link)
    except FileNotFoundError:
        pass  # it had none, or they were removed: what is named is found missing where it is sought
    except (OSError, shutil.Error):
        raise InvalidRequest("the attachments of the run to resume cannot be had any more; send them again") from None
