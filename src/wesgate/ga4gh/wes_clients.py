"""What each client of WES can bear that was written for WES 1.0: one table of who they are, and what they get instead.

Read in the sources of the clients and in runs of them; docs/reference/wes.md is the same table for people. Whoever is
not surely one of them gets WES 1.1 as it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wesgate.core.states import State
from wesgate.ga4gh.wes import FROM_CACHE, as_text

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """How a request was made: the headers by which clients differ, and the one client of the site's setting."""

    agent: str = ""
    content_type: str = ""
    expect: str = ""
    set_to: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """One client. A GET is its own if `agent` is in its User-Agent, it `asks` so, and the run, where it asks for one,
    was `sent` so; without an `agent` only the setting names it.

    `of_1_0`: it reads service-info as WES 1.0 has it. `jobs_in_names`: it takes a task's job from its name.
    `text_outputs`: outputs that are no text stop it. `states` are the words that it cannot bear and those it gets
    instead."""

    name: str
    agent: re.Pattern[str] | None = None
    asks: Callable[[Asking], bool] = lambda _: True
    sent: Callable[[Document], bool] | None = None
    of_1_0: bool = False
    jobs_in_names: bool = False
    text_outputs: bool = False
    states: Mapping[str, str] = field(default_factory=dict)


def _has_form(asking: Asking) -> bool:
    return asking.content_type.startswith("multipart/form-data")


def _expects(asking: Asking) -> bool:
    return asking.expect.lower() == "100-continue"


def _is_type_in_lower_case(document: Document) -> bool:
    return str(document.get("workflow_type", "")).islower()


# The one state that WES 1.1 added: clients of 1.0 wait for ever, or cannot read the answer.
_OF_1_0 = {State.PREEMPTED.value: State.SYSTEM_ERROR.value}

ANYBODY = Client("")
"""Whoever is none of them is believed to know WES 1.1."""

# A User-Agent of a generator or a library is many clients': only what comes with it tells them apart. No other client
# sends an empty form with a GET (Amazon Genomics CLI, whose generated code was changed by hand), or expects 100 there
# (Dockstore, which sends that header with all). Toil alone sends types in lower case; to strict clients they are names.
CLIENTS = (
    Client("agc", re.compile(r"^OpenAPI-Generator/[^/]+/go$"), _has_form, of_1_0=True, jobs_in_names=True,
           states=_OF_1_0),
    Client("dockstore", re.compile(r"^(OpenAPI-Generator|Swagger-Codegen)/[^/]+/java$"), _expects, of_1_0=True,
           states=_OF_1_0),
    Client("toil", re.compile(r"^python-requests/"), sent=_is_type_in_lower_case, states=_OF_1_0),
    Client("dnastack", re.compile(r"^dnastack-client/"), text_outputs=True),
    Client("gxy-wes", states=_OF_1_0),
    Client("ai4gh", states=_OF_1_0),
    Client("wes-1.0", of_1_0=True, states=_OF_1_0),
)  # fmt: skip

BY_NAME = {client.name: client for client in (ANYBODY, *CLIENTS)}

FOLDED = frozenset(state for client in CLIENTS for state in client.states)
"""The states that anybody is shown as another: seldom ones, so that nearly no answer needs to know who asks."""


def who(asking: Asking, document: Document | None = None) -> Client:
    """Whose question this is, about the run of this request if it is about one."""
    if asking.set_to:
        return BY_NAME[asking.set_to]
    return next((client for client in CLIENTS if _is(client, asking, document)), ANYBODY)


def _is(client: Client, asking: Asking, document: Document | None) -> bool:
    if client.agent is None or not client.agent.search(asking.agent) or not client.asks(asking):
        return False
    return client.sent is None or (document is not None and client.sent(document))


def run_log(log: dict[str, Any], client: Client) -> dict[str, Any]:
    """A `RunLog` as this client can bear it; of its outputs, see `outputs_of_text`."""
    shown = {**log, "state": client.states.get(log["state"], log["state"])}
    if client.jobs_in_names:
        shown["task_logs"] = [{**task, "name": _with_job(task)} for task in log["task_logs"]]
    return shown


def outputs_of_text(outputs: str) -> str:
    """The JSON of outputs with every one that is no text as JSON in a text."""
    return json.dumps({name: as_text(value) for name, value in json.loads(outputs).items()})


def _with_job(task: Mapping[str, Any]) -> str:
    # It splits at the one bar that it expects: https://github.com/aws/amazon-genomics-cli/issues/494
    cached = any(line.startswith(FROM_CACHE) for line in task.get("system_logs", ()))
    return f"{task['name'].replace('|', '_')}|{'XXXXX' if cached else task['id']}"
