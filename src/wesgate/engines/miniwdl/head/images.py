"""Which images the tasks of a run are carried out in, as far as that is known before a task is evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import WDL

from wesgate.engines.miniwdl.head.inputs import Bindings
from wesgate.engines.miniwdl.head.session import Session

_OVERRIDES = tuple(f"{section}.{name}" for section in ("runtime", "requirements") for name in ("docker", "container"))


@dataclass(frozen=True, slots=True)
class Images:
    """`used` has the images of tasks, by the digest of their code, where each call has the same; `replaced` are those
    that others stand in for."""

    used: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)

    def decisive(self, digest: str, inputs: Bindings) -> str:
        """What decides, besides its code and its inputs, which image a call gets: the same text, the same image."""
        is_computed = digest not in self.used or any(inputs.has_binding(name) for name in _OVERRIDES)
        return json.dumps(self.replaced if is_computed else self.used[digest], sort_keys=True)


def images_of(document: WDL.Tree.Document, session: Session) -> Images:
    """The images of a document's tasks, and of those that it imports."""
    default = _default(session.runtime_defaults)
    used = {
        task.digest: session.image(named)
        for task in _tasks(document)
        if (named := _named(task.runtime, default)) is not None
    }
    names = {name for images in session.images for name in images}
    return Images(used, {name: image for name in names if (image := session.image(name)) != name})


def _default(runtime: Mapping[str, object]) -> str:
    image = runtime.get("container", runtime.get("docker", ""))
    return str(image[0] if isinstance(image, list) else image)


def _named(runtime: Mapping[str, WDL.Expr.Base], default: str) -> str | None:
    """The image that a task names in plain text, or gets for naming none. None where it is computed."""
    expression = runtime.get("container", runtime.get("docker"))
    if isinstance(expression, WDL.Expr.Array) and expression.items:
        expression = expression.items[0]  # miniwdl takes the first
    if expression is None:
        return default
    literal = expression.literal if isinstance(expression, WDL.Expr.String) else None
    return None if literal is None else str(literal.value)


def _tasks(document: WDL.Tree.Document) -> Iterator[WDL.Tree.Task]:
    yield from document.tasks
    for each in document.imports:
        if each.doc:
            yield from _tasks(each.doc)
