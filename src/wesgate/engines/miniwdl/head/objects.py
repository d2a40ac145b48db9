"""Bring what a run names in object stores, by tasks of their own: workers have the credentials, and heads have not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wesgate.core.spec import Store
from wesgate.core.stores import store_for
from wesgate.engines.miniwdl.head.session import Session
from wesgate.engines.miniwdl.head.tes.request import HEAD_TAG, RUN_TAG, file_url
from wesgate.sources.downloads import file_name
from wesgate.storage.http import FetchFailed
from wesgate.storage.target import redacted


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a run. `image` is what the tasks that bring them name, for nothing but `true` and `cp`."""

    session: Session
    stores: Sequence[Store]
    image: str
    terminating: Callable[[], bool]

    @property
    def schemes(self) -> frozenset[str]:
        """What the URLs of objects begin with here."""
        return frozenset(store.url.partition(":")[0] for store in self.stores)

    def has(self, url: str) -> bool:
        """Whether this names something in a store of the site."""
        return store_for(url, self.stores) is not None

    def bring(self, url: str, *, directory: bool = False) -> Path:
        """The file or directory behind this URL, brought below the head's own directory. `FetchFailed` if it cannot
        be."""
        if not self.has(url):
            raise FetchFailed(f"{redacted(url)} is in no store of this site: service-info of TES names them in storage")
        own = self.session
        place = own.directory / own.head_attempt / "objects" / hashlib.sha256(url.encode()).hexdigest()[:32]
        target = place / file_name(url.rstrip("/"))
        place.mkdir(parents=True, exist_ok=True)
        document = bringing(url, target, directory=directory, image=self.image)
        tags = {RUN_TAG: own.run_id, HEAD_TAG: own.head_attempt}
        key = f"{own.run_id}/{own.head_attempt}/{place.name}-{'directory' if directory else 'file'}"
        ended = own.wait(own.create({**document, "tags": tags}, key, self.terminating), self.terminating)
        if ended.state != "COMPLETE":
            raise FetchFailed(ended.sentence)
        return target


def bringing(url: str, target: Path, *, directory: bool, image: str) -> dict[str, Any]:
    """The TES task that puts an object, or all below a directory, at `target`."""
    inside, kind = f"{target.parent}/in/{target.name}", "DIRECTORY" if directory else "FILE"
    # A file is delivered from where it was brought to; an output directory on this machine is filled where it is.
    path, command = (str(target), ["cp", "-R", f"{inside}/.", str(target)]) if directory else (inside, ["true"])
    return {
        "name": f"bring {redacted(url)}"[:1024],
        "inputs": [{"url": url, "path": inside, "type": kind}],
        "outputs": [{"path": path, "url": file_url(str(target)), "type": kind}],
        "executors": [{"image": image, "command": command}],
        "resources": {"backend_parameters": {"image_entrypoint": "false"}},
    }
