"""What the routes of TES take and give, for the OpenAPI document: they read requests and write answers by hand, so
FastAPI sees none of it. What comes in is described by the models that read it."""

from __future__ import annotations

from typing import Any

from wesgate.core.states import State
from wesgate.ga4gh.tes import TesTask
from wesgate.ga4gh.views import View

Described = dict[str, Any]

TEXT: Described = {"type": "string"}
TEXTS: Described = {"type": "array", "items": TEXT}
WHOLE: Described = {"type": "integer"}
WORDS: Described = {"type": "object", "additionalProperties": TEXT}


def _object(required: dict[str, Described], **optional: Described) -> Described:
    made: Described = {"type": "object", "properties": required | optional}
    return made | ({"required": list(required)} if required else {})


def _list(of: Described) -> Described:
    return {"type": "array", "items": of}


def _ref(name: str) -> Described:
    return {"$ref": f"#/components/schemas/{name}"}


_STATE: Described = {"type": "string", "enum": [state.value for state in State]}
_STEP_LOG = _object({"exit_code": WHOLE}, start_time=TEXT, end_time=TEXT, stdout=TEXT, stderr=TEXT)
_OUTPUT_LOG = _object({"url": TEXT, "path": TEXT, "size_bytes": TEXT})
_LOG = _object(
    {"logs": _list(_STEP_LOG), "outputs": _list(_OUTPUT_LOG)},
    metadata=WORDS, start_time=TEXT, end_time=TEXT, system_logs=TEXTS,
)  # fmt: skip


def with_schemas(document: Described) -> Described:
    """The OpenAPI document with the schemas that the routes refer to."""
    task = TesTask.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = task.pop("$defs")
    shown = {"logs": _list(_ref("TesTaskLog")), "creation_time": TEXT}
    ours = {"TesTaskLog": _LOG, "TesTaskShown": _object({"id": TEXT, "state": _STATE}, **task["properties"], **shown)}
    document.setdefault("components", {}).setdefault("schemas", {}).update(parts | {"TesTask": task} | ours)
    return document


def _query(name: str, schema: Described, about: str) -> Described:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


_VIEW = _query("view", {"type": "string", "enum": list(View), "default": View.MINIMAL}, "how much is shown")
_FILTERS = [
    _query("name_prefix", TEXT, "how the name begins"),
    _query("state", _STATE, "the state, as it is and not as it may be shown"),
    _query("tag_key", TEXTS, "tags that a task must have"),
    _query("tag_value", TEXTS, "their values by place; empty is any"),
]
_PAGES = [
    _query("page_size", {"type": "integer", "minimum": 1, "default": 256}, "more than 2047 counts as that"),
    _query("page_token", TEXT, "next_page_token of the page before"),
]
_KEY: Described = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "the same key with the same body gives the same answer",
}  # fmt: skip


def _route(answer: Described, *parameters: Described, body: Described | None = None) -> Described:
    gives: Described = {"200": {"content": {"application/json": {"schema": answer}}}}
    made: Described = {"parameters": list(parameters), "responses": gives}
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return made


SERVICE_INFO = _route(
    _object(
        {"id": TEXT, "name": TEXT, "type": WORDS, "organization": WORDS, "version": TEXT, "storage": TEXTS,
         "tesResources_backend_parameters": TEXTS},
    )
)  # fmt: skip
LEGACY_SERVICE_INFO = _route(_object({"name": TEXT, "doc": TEXT, "storage": TEXTS}))
CREATE = _route(_object({"id": TEXT}), _KEY, body=_ref("TesTask"))
LIST = _route(_object({"tasks": _list(_ref("TesTaskShown"))}, next_page_token=TEXT), *_FILTERS, *_PAGES, _VIEW)
GET = _route(_ref("TesTaskShown"), _VIEW)
CANCEL = _route(_object({}))
BATCH = _route(_object({"ids": TEXTS}), _KEY, body=_object({"tasks": _list(_ref("TesTask"))}))
CANCEL_ALL = _route(_object({"canceled": WHOLE}), *_FILTERS)
VALIDATE = _route(
    _object(
        {"task": _ref("TesTask"), "executor": TEXT, "submitter": TEXT, "policy": _object({}), "warnings": TEXTS},
    ),
    body=_ref("TesTask"),
)
