"""One run of miniwdl inside a head: load, bind, run, and put the end into words."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import WDL
from WDL._util import TerminationSignalFlag
from WDL.runtime import config
from WDL.runtime.task import run_local_task
from WDL.runtime.workflow import run_local_workflow

from wesgate.engines.miniwdl import addresses
from wesgate.engines.miniwdl.config import HeadPlan, RunOptions, miniwdl_options, run_options
from wesgate.engines.miniwdl.head.calls import Reuse, RunCache, calls_known
from wesgate.engines.miniwdl.head.complaints import explain
from wesgate.engines.miniwdl.head.container import TesContainer
from wesgate.engines.miniwdl.head.images import images_of
from wesgate.engines.miniwdl.head.inputs import bind_inputs
from wesgate.engines.miniwdl.head.objects import Objects
from wesgate.engines.miniwdl.head.outputs import Laying, clear, keep
from wesgate.engines.miniwdl.head.prepare import prepare
from wesgate.engines.miniwdl.head.session import Session
from wesgate.engines.miniwdl.head.tes.adopt import Adoptable
from wesgate.engines.miniwdl.head.tes.client import TesClient
from wesgate.engines.miniwdl.head.tes.request import RUN_TAG
from wesgate.engines.miniwdl.head.tes.told import Teller
from wesgate.engines.miniwdl.head.tes.watch import Watch
from wesgate.engines.miniwdl.publish import shown
from wesgate.engines.miniwdl.verdict import Fault, Result
from wesgate.ga4gh.finding import words_in
from wesgate.sources import arrive
from wesgate.sources.downloads import Downloads
from wesgate.storage.connections import Network
from wesgate.storage.patience import Bounds

HEED_S = 0.5
"""The longest that a signal to stop may go unheeded."""

Download = Generator[dict[str, Any], dict[str, Any], None]
Downloader = Callable[..., Download]


def run_workflow(directory: Path, plan: HeadPlan, head_attempt: str) -> Result:
    """Run to the end; whatever happens is in the result. Call it on the main thread: it takes the signals."""
    log = logging.getLogger("wesgate")
    results: list[Result] = []

    def run() -> None:
        try:
            results.append(_run(directory, plan, head_attempt, terminating))
        except Exception as error:  # what miniwdl may raise has no end, and each must end the run with its reason
            log.debug("the run failed", exc_info=True)
            results.append(explain(error, Path(directory)))

    with TerminationSignalFlag(log) as terminating:
        running = threading.Thread(target=run, name="run", daemon=True)
        running.start()
        # A signal that comes just before a wait begins, or to another thread, does not end the wait; only the main
        # thread takes signals, and miniwdl's waits have no limit.
        while running.is_alive():
            running.join(HEED_S)
    # Where there is no memory left, not even that can be put into words, and the thread just ends.
    return results[0] if results else explain(MemoryError(), Path(directory))


def _run(directory: Path, plan: HeadPlan, head_attempt: str, terminating: Callable[[], bool]) -> Result:
    options = run_options(plan)
    fetching = plan.settings.fetching
    bounds = Bounds(fetching.max_bytes, fetching.timeout_s, terminating)
    downloads = Downloads(directory / "downloads", bounds, Network(fetching.allow_private))
    prepared = prepare(directory, plan, terminating)
    params, exe = prepared.params(), prepared.exe
    if plan.inputs_url or prepared.workflow.arrived.inputs:
        arrive.record(directory, replace(prepared.workflow.arrived, words=tuple(words_in(params))))
    places = prepared.places()
    inputs = bind_inputs(params, exe, places)
    cfg = config.Loader(logging.getLogger("wesgate"), filenames=[], overrides=miniwdl_options(plan, options))
    TesContainer.session = session = open_session(directory, plan, options, head_attempt)
    objects = Objects(session, plan.settings.stores, session.image(plan.settings.default_image), terminating)
    # The entry points for this would also serve every other miniwdl of the same installation.
    cfg._downloaders = downloaders(downloads, objects)  # type: ignore[attr-defined]  # its cache
    attempt_directory = directory / head_attempt
    clear(directory)
    teller = Teller(session.client, plan.run_id, attempt_directory, terminating)
    RunCache.reuse = Reuse(directory, teller.add, images_of(prepared.workflow.document, session))
    run_local = run_local_task if isinstance(exe, WDL.Tree.Task) else run_local_workflow
    with calls_known(), closing(teller):
        _, outputs = run_local(cfg, exe, inputs, run_dir=f"{attempt_directory}/.")  # type: ignore[arg-type]  # as chosen
    laying = Laying(directory, os.path.realpath(plan.owner_directory), places, terminating)
    kept = WDL.values_to_json(keep(outputs, exe.name, laying, plan.publish), exe.name)
    return Result(Fault.NONE, outputs=kept, directory=str(attempt_directory), published=shown(plan.publish))


def open_session(directory: Path, plan: HeadPlan, options: RunOptions, head_attempt: str) -> Session:
    """The way to TES, and what earlier heads of this run left there."""
    client = TesClient(lambda: addresses.read(Path(plan.api_directory)), (directory / "token").read_text())
    earlier = head_attempt != "attempt-1"
    return Session(
        client=client,
        watch=Watch(client, (RUN_TAG, plan.run_id)),
        adoptable=Adoptable(client.tagged(RUN_TAG, plan.run_id, "BASIC") if earlier else ()),
        run_id=plan.run_id,
        directory=directory,
        head_attempt=head_attempt,
        host_paths=plan.host_paths,
        runtime_defaults=options.runtime_defaults,
        images=(plan.settings.images, options.images),
    )


def downloaders(downloads: Downloads, objects: Objects) -> tuple[dict[str, Downloader], dict[str, Downloader]]:
    """What miniwdl shall do for a File and for a Directory that is a URL, by its scheme. Its own downloaders would run
    tasks in images of their own."""

    def file(_cfg: config.Loader, _logger: logging.Logger, uri: str, **_: Any) -> Download:
        found = objects.bring(uri) if is_object(uri) else downloads.file(uri)
        yield {"outputs": {"file": str(found)}}

    def directory(_cfg: config.Loader, _logger: logging.Logger, uri: str, **_: Any) -> Download:
        yield {"outputs": {"directory": str(objects.bring(uri, directory=True))}}

    def is_object(uri: str) -> bool:
        return objects.has(uri) or not uri.startswith(("http://", "https://"))

    return dict.fromkeys({"http", "https", *objects.schemes}, file), dict.fromkeys(objects.schemes, directory)
