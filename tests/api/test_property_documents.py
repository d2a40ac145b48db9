"""Any document is refused, or kept as one that every view shows as TES has it and that is taken again unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, example, given
from hypothesis import settings as told
from hypothesis import strategies as st

from tests.api.specs import faults
from tests.submitters.shapes import nulls, unknown
from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import Lane
from wesgate.ga4gh import dialects, parameters, strict, tes
from wesgate.ga4gh.dialects import DIALECTS, TAG, Asking
from wesgate.ga4gh.parameters import Site
from wesgate.ga4gh.views import Task, View, encode, minimal, render

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SITE = Site(max_attempts=3, timeout_s=100.0, gpus=2)
CHECKED = told(
    max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
hostile = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile, inner, max_size=4),
    max_leaves=12,
)
folders = st.sampled_from(["/", "/a", "/tmp", "/a/../b", "/a b"]) | text.map("/{}".format)
urls = st.sampled_from(["file:///a", "/a", "s3://b/k", "http://h/x", "x"])
words = st.dictionaries(text, text, max_size=3)
numbers = st.integers(0, 5) | st.floats(0, 100) | st.sampled_from([0, 1_000_000, 1e6])
asked = st.dictionaries(
    st.sampled_from([*parameters.KNOWN, *map(str.upper, parameters.KNOWN), "VmSize", "internal_path_prefix"]),
    st.sampled_from(["0", "1", "2", "3600", "1e9", "-1", "skip", "fail", "true", "False", "", "999999999", "x"]),
    max_size=4,
)
tags = words | st.sampled_from([dialect.name for dialect in DIALECTS]).map(lambda name: {TAG: name})


def members(required: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with these members; any of the optional ones may be null."""
    return st.fixed_dictionaries(required, optional={name: value | st.none() for name, value in optional.items()})


types = st.sampled_from(["FILE", "DIRECTORY"])
inputs = members({"path": folders, "url": urls}, name=text, content=text, type=types, streamable=st.booleans())
outputs = members({"path": folders, "url": urls}, name=text, type=types)
globs = members({"path": st.sampled_from(["/a/*", "/a/b?", "/a/[x]/y"]), "path_prefix": st.just("/a"), "url": urls})
steps = members(
    {"image": st.sampled_from(["busybox", "a/b:1"]), "command": st.lists(text, min_size=1, max_size=3)},
    workdir=folders, stdin=folders, stdout=folders, env=st.just({"A": "b"}), ignore_error=st.booleans(),
)  # fmt: skip
wanted = members(
    {}, cpu_cores=numbers, ram_gb=numbers, disk_gb=numbers, preemptible=st.booleans(), zones=st.lists(text, max_size=2),
    backend_parameters=asked, backend_parameters_strict=st.booleans(),
)  # fmt: skip
good = members(
    {"executors": st.lists(steps, min_size=1, max_size=3), "resources": wanted, "inputs": st.lists(inputs, max_size=2)},
    name=text, description=text, outputs=st.lists(outputs | globs, max_size=2), volumes=st.lists(folders, max_size=2),
    tags=tags, id=text, state=text, logs=json_values,
)  # fmt: skip


@st.composite
def broken(draw: st.DrawFn) -> Any:
    """A good document with something else in one place."""
    whole: Any = draw(good)
    place = whole
    while True:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
            place[key] = draw(json_values | hostile)
            return whole
        place = inner


documents = st.one_of(good, good, broken())
askings = st.builds(
    Asking, st.sampled_from(["", "python-requests/2", "crankshaft/1"]), st.booleans(),
    st.sampled_from(["", "cromwell", "pulsar"]),
)  # fmt: skip
states = st.sampled_from(["QUEUED", "RUNNING", "COMPLETE", "PREEMPTED"])
details = st.sampled_from(["", "why"])
reports = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "steps": st.lists(st.fixed_dictionaries({"exit_code": st.none() | st.integers(-1, 255), "stdout": text})),
        "outputs": st.lists(st.fixed_dictionaries({"url": text, "path": text, "size_bytes": st.integers(0, 1 << 62)})),
        "system_logs": st.lists(text, max_size=2), "metadata": words, "start_time": st.just("2026-01-01T12:00:00Z"),
    },
)  # fmt: skip


def read(document: Any, asking: Asking) -> tes.Accepted | None:
    """As a route reads it: from bytes."""
    try:
        body = json.dumps(document).encode()
        return tes.read_task(strict.parse(body), SITE, asking)
    except InvalidRequest:
        return None


@CHECKED
@given(st.one_of(json_values, documents), askings)
@example({"executors": [{"image": "i", "command": ["c"]}], "tags": {TAG: "cromwell"}}, Asking())
def test_a_document_that_is_taken_is_taken_again_unchanged(sent: Any, asking: Asking) -> None:
    first = read(sent, asking)
    if first is None:
        return
    again = read(first.document, asking)
    assert again is not None
    assert (again.document, again.terms, again.submitter) == (first.document, first.terms, first.submitter)
    spec = tes.task_spec(first.document, {}, "owner", Lane.TASK, (), (), None)
    assert len(spec.steps) == len(first.document["executors"])


@CHECKED
@given(documents, askings, states, details, st.lists(reports, max_size=3))
def test_what_is_taken_is_shown_in_every_view_as_tes_has_it(
    sent: Any, asking: Asking, state: str, detail: str, left: list[Any]
) -> None:
    accepted = read(sent, asking)
    if accepted is None:
        return
    document, warnings = accepted.document, accepted.warnings
    task = Task(UUID(int=1), state, detail, document, NOON, None, tuple(left), accepted.submitter, warnings)
    for view in View:
        least = minimal(task.id, dialects.shown(state, task.submitter, asking))
        shown = json.loads(least if view is View.MINIMAL else encode(render(view, task, asking, 0.25)))
        # The schema asks for executors, which MINIMAL leaves out, and for whole cores, which TES 1.2 lets be parts.
        whole = shown | {"executors": document["executors"], "resources": {}}
        assert (faults("tes", "tesTask", whole), unknown("tesTask", shown), nulls(shown)) == ([], [], [])
        if view is View.FULL:
            assert {name: shown[name] for name in document} == document


@CHECKED
@given(asked, st.booleans(), st.sampled_from(DIALECTS))
def test_parameters_that_are_kept_are_agreed_to_again_and_never_above_the_sites_most(
    sent: dict[str, str], is_strict: bool, dialect: Any
) -> None:
    try:
        agreed = parameters.agree(sent, is_strict, SITE, dialect)
    except InvalidRequest:
        return
    assert set(agreed.kept.items()) <= set(sent.items())
    assert parameters.agree(agreed.kept, is_strict, SITE, dialect).terms == agreed.terms
    assert 1 <= agreed.terms.max_attempts <= SITE.max_attempts
    assert 0 <= agreed.terms.max_preemptions <= SITE.max_preemptions
    assert agreed.terms.policy.timeout_s is not None
    assert 0 < agreed.terms.policy.timeout_s <= 100
    assert 0 <= agreed.terms.policy.gpus <= SITE.gpus
    assert not (is_strict and agreed.warnings)
