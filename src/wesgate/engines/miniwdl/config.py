"""What a run is told: the operator's settings, the plan its head reads, and miniwdl's own options made from both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wesgate.core.codec import dump, load
from wesgate.core.paths import CACHE
from wesgate.core.spec import Fetching, RunSpec, Store
from wesgate.engines.miniwdl.addresses import API_DIRECTORY
from wesgate.engines.miniwdl.defaults import IMAGE, RUNTIME_DEFAULTS
from wesgate.engines.miniwdl.publish import destination
from wesgate.ga4gh.service_info import EngineParameter


@dataclass(frozen=True, slots=True)
class MiniwdlSettings:
    """What the operator decides. `roots` are the directories, besides an owner's own, whose files runs may name;
    `fetching` is for their documents and inputs; `stores`, without their options, are where objects may be named;
    `images` are the ones that are used in place of those that tasks name."""

    default_image: str = "ubuntu:22.04"
    images: Mapping[str, str] = field(default_factory=dict)
    task_concurrency: int = 100  # one thread each in the head; miniwdl's own guideline ends at about 200
    call_cache: bool = True
    head_memory_gb: float = 4.0
    roots: tuple[str, ...] = ()
    fetching: Fetching = field(default_factory=Fetching)
    stores: tuple[Store, ...] = ()


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """`head.json`: all that a head needs to know besides the run's inputs and its token.

    `api_directory` holds the URLs of the API, which may move while a head runs. `workflow` and
    `inputs_url` (empty for none) are as `sources.kinds` reads them. `host_paths` says that tasks see files where the
    host has them, because nothing can be mounted. `publish` is the URL of the directory that the outputs go to, empty
    for none. `resumes` is the run (32 hex) that this one goes on with, empty for none.
    """

    run_id: str
    api_directory: str
    workflow: str
    owner_directory: str
    host_paths: bool
    settings: MiniwdlSettings
    engine_parameters: Mapping[str, str] = field(default_factory=dict)
    publish: str = ""
    inputs_url: str = ""
    resumes: str = ""

    @staticmethod
    def of(spec: RunSpec, settings: MiniwdlSettings, files_root: Path, *, host_paths: bool = False) -> HeadPlan:
        """The plan for this run, below this root of all files."""
        return HeadPlan(
            run_id=str(spec.id),
            api_directory=str(files_root / API_DIRECTORY),
            workflow=spec.workflow_url,
            owner_directory=str(files_root / spec.owner),
            host_paths=host_paths,
            settings=settings,
            engine_parameters=dict(spec.engine_parameters),
            publish=destination(spec),
            inputs_url=spec.terms.inputs_url,
            resumes=spec.terms.resume,
        )

    def write(self) -> str:
        return json.dumps(dump(self))

    @staticmethod
    def read(text: str) -> HeadPlan:
        return load(HeadPlan, json.loads(text))


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run's engine parameters, in miniwdl's types."""

    task: str | None
    max_tasks: int
    fail_fast: bool
    call_cache: bool
    copy_input_files: bool
    images: Mapping[str, str]
    runtime_defaults: Mapping[str, Any]


_NO_RESUME = EngineParameter(
    "resume",
    "string",
    "",
    pattern="()",
    means="left out: this site has no call cache, so there is nothing to go on with",
)
"""In place of what every run may carry: without the cache, a resumed run would do all of its work again."""


def engine_parameters(settings: MiniwdlSettings) -> list[EngineParameter]:
    """The `workflow_engine_parameters` that a run may carry, as service-info tells them; docs/howto/workflows.md says
    what they do."""
    return [
        EngineParameter("task", "string", ""),
        EngineParameter("max_tasks", "integer", str(settings.task_concurrency)),
        EngineParameter("fail_fast", "boolean", "true"),
        EngineParameter("call_cache", "boolean", json.dumps(settings.call_cache)),
        EngineParameter("copy_input_files", "boolean", "false"),
        EngineParameter("max_retries", "integer", "0", least=0),
        EngineParameter("runtime_defaults", "json", "{}", members=RUNTIME_DEFAULTS),
        EngineParameter("image_map", "json", "{}", others=IMAGE),
        *([] if settings.call_cache else [_NO_RESUME]),
    ]


def run_options(plan: HeadPlan) -> RunOptions:
    """The run's engine parameters, which its submit has checked, over the operator's settings."""
    given = plan.engine_parameters
    ceiling = plan.settings.task_concurrency
    return RunOptions(
        task=given.get("task"),
        max_tasks=min(int(given.get("max_tasks", ceiling)), ceiling),
        fail_fast=given.get("fail_fast") != "false",
        call_cache=plan.settings.call_cache and (bool(plan.resumes) or given.get("call_cache") != "false"),
        copy_input_files=given.get("copy_input_files") == "true",
        images=json.loads(given.get("image_map", "{}")),
        runtime_defaults=_runtime_defaults(plan),
    )


def _runtime_defaults(plan: HeadPlan) -> dict[str, Any]:
    given = plan.engine_parameters
    asked = json.loads(given.get("runtime_defaults", "{}"))
    image = {} if "container" in asked else {"docker": plan.settings.default_image}
    return {**image, "maxRetries": int(given.get("max_retries", 0)), **asked}


def miniwdl_options(plan: HeadPlan, options: RunOptions) -> dict[str, dict[str, Any]]:
    """miniwdl's configuration for one run, complete enough that no file or variable of the machine can weaken it.

    miniwdl expands `$VARIABLES` in every value, again and again: nothing that a user wrote may stand here.
    """
    return {
        "scheduler": {
            "container_backend": "wesgate",
            "task_concurrency": options.max_tasks,
            "subworkflow_concurrency": options.max_tasks,
            "fail_fast": options.fail_fast,
        },
        "file_io": {
            # Every input path is checked against the allowed roots before miniwdl sees it, and miniwdl
            # allows no others; its own root is one directory, and there may be several.
            "root": "/",
            "allow_any_input": False,
            "copy_input_files": options.copy_input_files,
            "copy_input_files_for": [],
            "output_hardlinks": False,
            "use_relative_output_paths": False,
            "delete_work": "false",
            "chown": False,
            "mount_tmpdir": False,
            "mount_tmpdir_for": [],
        },
        "task_runtime": {
            "cpu_max": -1,  # the machine of the head says nothing about where tasks run
            "memory_max": -1,
            "memory_limit_multiplier": 0.0,
            "defaults": {},  # the container backend has them
            "env": {},
            "allow_privileged": False,
            "as_user": False,
            "command_shell": "/bin/bash",
            "command_preamble": "",
            "placeholder_regex": "(.|\\n)*",
            "old_command_dedent": False,
        },
        "download_cache": {"put": False, "get": False},
        "call_cache": {
            "put": plan.settings.call_cache,  # also by a run that reads nothing: it may be resumed
            "get": options.call_cache,
            "backend": "wesgate",
            "dir": str(Path(plan.owner_directory) / CACHE),
        },
        # Any other installed package that offers miniwdl plugins would otherwise run in the head.
        "plugins": {
            "enable_patterns": ["wesgate.engines.miniwdl.head.container:*"],
            "disable_patterns": [],
        },
        "logging": {"json": False},
    }
