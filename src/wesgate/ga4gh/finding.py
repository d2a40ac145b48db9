"""What a run is found by: its name, and the words of its request, of its outputs and of a search."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from wesgate.core.errors import InvalidRequest

LONGEST_NAME = 256
LONGEST_WORD = 64
MOST_WORDS = 500
"""Of a request, and again of its outputs. Every write to a run's row writes the index anew for each of them."""
MOST_SEARCHED = 16
_MOST_VALUES = 10_000
_MOST_CHARACTERS = 1 << 18

_WORD = re.compile(r"[^\W_]+")
_EXTENSION = re.compile(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,7}$")
_GIT = re.compile(r"\.git(@.*)?$")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def name_of(document: Mapping[str, Any]) -> str:
    """What people call a run: its tag `name` or, without one, the file name of its workflow without extension."""
    given = document.get("tags", {}).get("name") or _file_name(document["workflow_url"])
    return _UNPRINTABLE.sub("", given)[:LONGEST_NAME]


def words_of(document: Mapping[str, Any]) -> list[str]:
    """The words of a kept request: of its name, tags, URL, engine parameters and, as far as they go, parameters."""
    tags, options = document.get("tags", {}), document.get("workflow_engine_parameters", {})
    keys = (key for key in tags if key != "name")  # nearly every run has that one
    told = [name_of(document), *keys, tags, unquote(document["workflow_url"]), *options, options]
    return words_in([*told, document.get("workflow_params", {})])


def words_in(value: Any) -> list[str]:
    """The first MOST_WORDS different words of all strings and numbers of a JSON value, those of its top first."""
    found: dict[str, None] = {}
    left = _MOST_CHARACTERS
    for text in _texts(value):
        for word in _words(text[:left]):
            found[word] = None
            if len(found) == MOST_WORDS:
                return list(found)
        left -= len(text)
        if left <= 0:
            break
    return list(found)


def searched(text: str) -> tuple[str, ...]:
    """The words of a search: a run is found if each begins one of its words."""
    found = tuple(dict.fromkeys(_words(text)))
    if not found:
        raise InvalidRequest("search has no letter and no digit")
    if len(found) > MOST_SEARCHED:
        raise InvalidRequest(f"search has more than {MOST_SEARCHED} words; leave some out")
    return found


def _words(text: str) -> Iterator[str]:
    """Runs of letters and digits in any script, without case: `sample_12.bam` is sample, 12 and bam."""
    if text.isascii():  # nearly all is, and every submit comes this way
        folded = text.lower()
    else:
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return (word[:LONGEST_WORD] for word in _WORD.findall(folded))


def _texts(value: Any) -> Iterator[str]:
    # Breadth first, without recursion: outputs may be nested as deep as an engine likes.
    waiting = deque([value])
    for _ in range(_MOST_VALUES):
        if not waiting:
            return
        match waiting.popleft():
            case str() as text:
                yield text
            case bool():
                continue
            case int() | float() as number:
                yield str(number)
            case Mapping() as members:
                waiting.extend(_some(members.values()))
            case list() | tuple() as items:
                waiting.extend(_some(items))


def _some(values: Iterable[Any]) -> Iterator[Any]:
    return islice(values, _MOST_VALUES)


def _file_name(workflow_url: str) -> str:
    try:
        parts = urlsplit(workflow_url)
    except ValueError:
        return ""
    # Where a git URL has a fragment, it is the path in the repository: https://host/it.git@v1#main.wdl
    path = parts.fragment or parts.path
    if parts.scheme == "trs" and path.count("/") < 3:  # /id/version: no file is named
        path = path.rpartition("/")[0]
    name = PurePosixPath(unquote(path)).name
    return _EXTENSION.sub("", _GIT.sub("", name))
