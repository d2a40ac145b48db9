"""The official OpenAPI documents, as a check on every reply. They lie beside the checkout, or where
WESGATE_SPECS says; they are not ours to ship."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30Validator

SPECS = Path(os.environ.get("WESGATE_SPECS", Path(__file__).parents[3] / "shared" / "specs"))
_REMOTE = "https://raw.githubusercontent.com/ga4gh-discovery/ga4gh-service-info/v1.0.0/service-info.yaml"


@cache
def document(name: str) -> dict[str, Any]:
    """One of the documents, with what it refers to by URL put inside."""
    text = (SPECS / name).read_text().replace(f"{_REMOTE}#/components/schemas/", "#/components/schemas/Discovery")
    found: dict[str, Any] = yaml.safe_load(text)
    shared = (
        (SPECS / "service-info-1.0.0.yaml")
        .read_text()
        .replace("#/components/schemas/", "#/components/schemas/Discovery")
    )
    schemas = yaml.safe_load(shared)["components"]["schemas"]
    found["components"]["schemas"].update({f"Discovery{key}": value for key, value in schemas.items()})
    return found


def faults(spec: str, schema: str, reply: Any) -> list[str]:
    """What the official schema has against a reply."""
    name = {"wes": "wes-1.1.0.openapi.yaml", "tes": "tes-1.1.0.openapi.yaml"}[spec]
    whole = document(name)
    wanted = {"$ref": f"#/components/schemas/{schema}", "components": whole["components"]}
    return [error.message for error in OAS30Validator(wanted).iter_errors(reply)]


def keys(spec: str, schema: str) -> set[str]:
    """The members that a schema knows: strict clients refuse any other."""
    name = {"wes": "wes-1.1.0.openapi.yaml", "tes": "tes-1.1.0.openapi.yaml"}[spec]
    return _keys(document(name)["components"]["schemas"], schema)


def _keys(schemas: dict[str, Any], schema: str) -> set[str]:
    parts = [schemas[schema], *schemas[schema].get("allOf", ())]
    inherited = [part["$ref"].rsplit("/", 1)[1] for part in parts if "$ref" in part]
    own = {key for part in parts for key in part.get("properties", {})}
    return own.union(*(_keys(schemas, name) for name in inherited))
