"""The official schemas, as a check on every reply.

`tests/recorded/ga4gh-schemas.json` holds what they demand, without their text, so that a checkout needs nothing beside
it. Where the official documents lie beside the checkout, or where WESGATE_SPECS says, `python -m tests.api.specs`
records them anew and a test compares.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30Validator

SPECS = Path(os.environ.get("WESGATE_SPECS", Path(__file__).parents[3] / "shared" / "specs"))
RECORDED = Path(__file__).parents[1] / "recorded" / "ga4gh-schemas.json"
_FILES = {"wes": "wes-1.1.0.openapi.yaml", "tes": "tes-1.1.0.openapi.yaml"}
_REMOTE = "https://raw.githubusercontent.com/ga4gh-discovery/ga4gh-service-info/v1.0.0/service-info.yaml"
_TEXT = frozenset({"description", "example", "examples", "title", "x-displayName", "externalDocs"})


def official() -> dict[str, dict[str, Any]]:
    """The schemas by API and name, from the documents; service-info's, which both refer to, are put inside."""
    shared = (SPECS / "service-info-1.0.0.yaml").read_text()
    both = _named_discovery(yaml.safe_load(shared.replace("#/components/schemas/", "#/components/schemas/Discovery")))
    found = {}
    for name, file in _FILES.items():
        text = (SPECS / file).read_text().replace(f"{_REMOTE}#/components/schemas/", "#/components/schemas/Discovery")
        found[name] = bare(yaml.safe_load(text)["components"]["schemas"] | both)
    return found


@cache
def recorded() -> dict[str, dict[str, Any]]:
    """The same, as recorded."""
    found: dict[str, dict[str, Any]] = json.loads(RECORDED.read_text())
    return found


def bare(schema: Any, *, names: bool = True) -> Any:
    """A schema without its text. `names`: the keys of this object are names of somebody's choice, not JSON Schema's."""
    match schema:
        case dict():
            return {
                key: bare(value, names=key == "properties" and not names)
                for key, value in sorted(schema.items())
                if names or key not in _TEXT
            }
        case list():
            return [bare(item, names=False) for item in schema]
        case _:
            return schema


def faults(spec: str, schema: str, reply: Any) -> list[str]:
    """What the official schema has against a reply."""
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": recorded()[spec]}}
    return [error.message for error in OAS30Validator(wanted).iter_errors(reply)]


def keys(spec: str, schema: str) -> set[str]:
    """The members that a schema knows: strict clients refuse any other."""
    return _keys(recorded()[spec], schema)


def _keys(schemas: dict[str, Any], schema: str) -> set[str]:
    parts = [schemas[schema], *schemas[schema].get("allOf", ())]
    inherited = [part["$ref"].rsplit("/", 1)[1] for part in parts if "$ref" in part]
    own = {key for part in parts for key in part.get("properties", {})}
    return own.union(*(_keys(schemas, name) for name in inherited))


def _named_discovery(document: dict[str, Any]) -> dict[str, Any]:
    return {f"Discovery{key}": value for key, value in document["components"]["schemas"].items()}


if __name__ == "__main__":
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(official(), indent=1) + "\n")
