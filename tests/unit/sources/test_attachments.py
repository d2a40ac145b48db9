"""Names of attachments: how long they may be, and that no name is more than the file system takes."""

from __future__ import annotations

import io
import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.sources import attachments, resumed
from wesgate.sources.attachments import LONGEST_NAME, check_name

LONGEST = "/".join(["a" * 255] * 3 + ["b" * 127, "c" * 128])
LONG = "/".join(["a" * 250] * 16)


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    assert len(LONGEST) == LONGEST_NAME
    attachments.write(tmp_path, [(check_name(LONGEST), io.BytesIO(b"it"))], 10)
    assert (tmp_path / LONGEST).read_bytes() == b"it"


@pytest.mark.parametrize("name", [LONG, LONGEST + "d", "ü" * 100 + "/" + "/".join(["ü" * 120] * 4)])
def test_a_longer_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(InvalidRequest, match=r"an attachment's name may have 1024 bytes") as refused:
        check_name(name)
    assert name not in str(refused.value)


@pytest.mark.parametrize("key", ["workflow_url", "inputs_url"])
def test_a_resumed_run_cannot_name_what_no_file_is_called(tmp_path: Path, key: str) -> None:
    document = {"workflow_url": "a.wdl", "workflow_engine_parameters": {"inputs_url": LONG}}
    if key == "workflow_url":
        document = {"workflow_url": LONG}
    with ExitStack() as opened, pytest.raises(InvalidRequest, match="1024 bytes"):
        resumed.named(tmp_path, document, opened)


def test_a_resumed_run_whose_attachments_cannot_be_read_has_none(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 250] * 14)  # what may come behind is more than a path may have
    (tmp_path / "attachments/a.wdl").mkdir(parents=True)
    with ExitStack() as opened:
        assert resumed.named(deep, {"workflow_url": LONGEST}, opened) == {}
        assert resumed.named(tmp_path, {"workflow_url": "a.wdl"}, opened) == {}


@pytest.mark.timeout(20)
def test_a_pipe_among_the_attachments_of_an_earlier_run_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "attachments").mkdir()
    os.mkfifo(tmp_path / "attachments" / "a.wdl")
    with ExitStack() as opened:
        assert resumed.named(tmp_path, {"workflow_url": "a.wdl"}, opened) == {}
