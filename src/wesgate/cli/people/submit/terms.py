"""What a run asks of the service besides its workflow: inputs from a URL, where its outputs go, what is kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wesgate.cli.errors import ServerProblem
from wesgate.cli.people.submit.params import pair
from wesgate.cli.people.submit.places import is_remote, place_url
from wesgate.ga4gh import finding

if TYPE_CHECKING:
    from wesgate.cli.people.client import WesClient

TAGS = "WESGATE_RUN_TAGS"

_OPTIONS = {
    "inputs_url": "--input URL: fetch it and give the file",
    "output_to": "--output-to (WESGATE_OUTPUT_TO): leave it out, and see `wesgate outputs`",
    "delete_after": "--delete-after (WESGATE_DELETE_AFTER): leave it out",
    "resume": "--resume: run the workflow again without it",
}


def terms(*, inputs: str, output_to: str, delete_after: str, resumed: str) -> dict[str, str]:
    """The engine parameters that ask for it; what was not asked for is not among them."""
    asked = {
        "inputs_url": inputs if is_remote(inputs) else "",
        "output_to": place_url(output_to) if output_to else "",
        "delete_after": delete_after,
        "resume": resumed,
    }
    return {name: value for name, value in asked.items() if value}


def check_offered(client: WesClient, asked: Mapping[str, str]) -> None:
    """Whether the server takes what is asked for. One that does not know it may take it and do nothing."""
    for name in asked:
        if name not in client.offered():
            raise ServerProblem(f"{client.base} takes no {name}, which wesgate does, for {_OPTIONS[name]}")


def tags(given: Sequence[str], name: str) -> dict[str, str]:
    """The tags of the command line over those of the environment, which go along with every run."""
    always = [text for text in os.environ.get(TAGS, "").split(",") if text.strip()]
    named = {"name": name} if name else {}
    return dict(pair(text, f"tag in {TAGS}") for text in always) | dict(pair(text, "tag") for text in given) | named


def with_name(tags: Mapping[str, str], workflow_url: str) -> dict[str, str]:
    """The tags with the name by which a wesgate knows a run without one: lists of runs tell tags, and no workflow."""
    name = finding.name_of({"workflow_url": workflow_url})
    return ({"name": name} if name else {}) | dict(tags)
