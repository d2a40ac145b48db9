"""The few facts about a WDL text that a submit needs, of any version, valid or not."""

from __future__ import annotations

import re

_COMMAND = re.compile(r"\bcommand\s*(?:<<<.*?>>>|\{.*?^\s*\})", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)
_IMPORT = re.compile(r"""^[ \t]*import[ \t]+(["'])(.+?)\1""", re.MULTILINE)
_VERSION = re.compile(r"^\s*version\s+(\S+)", re.MULTILINE)
_WORKFLOW = re.compile(r"^\s*workflow\s+(\w+)\s*\{", re.MULTILINE)
_DECLARATION = re.compile(r"^\s*([A-Z]\w*(?:\[[^=\n]*\])?[?+]*)\s+(\w+)\s*(?=$|=|#|\})", re.MULTILINE)


def bare(text: str) -> str:
    """The text without comment lines and command sections, in which other languages stand."""
    return _COMMAND.sub("command {}", _COMMENT.sub("", text))


def version(text: str) -> str:
    """The version it says; texts that say none are of the draft that had no such line."""
    found = _VERSION.search(bare(text))
    return found.group(1) if found else "draft-2"


def imports(text: str) -> list[str]:
    """What it imports, in order: relative paths, absolute paths and URLs."""
    return [found.group(2) for found in _IMPORT.finditer(bare(text))]


def workflow_name(text: str) -> str:
    """The name of its workflow; empty if it holds tasks only."""
    found = _WORKFLOW.search(bare(text))
    return found.group(1) if found else ""


def declared(text: str) -> dict[str, str]:
    """The types of what its workflow, or its one task, declares as inputs, by name. A text that does not parse is read
    as well as can be: the server will say what is wrong with it."""
    import WDL

    try:
        document = WDL.parse_document(text)
    except (WDL.Error.SyntaxError, WDL.Error.MultipleValidationErrors, WDL.Error.ValidationError):
        return _declared_roughly(text)
    target = document.workflow or (document.tasks[0] if len(document.tasks) == 1 else None)
    if target is None:
        return {}
    free = [node for node in getattr(target, "body", ()) if isinstance(node, WDL.Tree.Decl)]
    return {decl.name: str(decl.type) for decl in [*(target.inputs or ()), *free]}


def _declared_roughly(text: str) -> dict[str, str]:
    plain = bare(text)
    begin = _WORKFLOW.search(plain)
    types: dict[str, str] = {}
    for kind, name in _DECLARATION.findall(plain[begin.end() :] if begin else ""):
        types.setdefault(name, kind)
    return types


def holds_files(kind: str) -> bool:
    """Whether every text in a value of this type names a file."""
    return re.fullmatch(r"(Array\[|Map\[String,)*File[]?+]*", kind.replace(" ", "")) is not None


def may_hold_files(kind: str) -> bool:
    """Whether a value of this type can name files: anything but the plain types and what is built of them."""
    return not set(re.findall(r"\w+", kind)) <= {"String", "Int", "Float", "Boolean", "Array", "Map", "Pair"}
