"""Every option of the service: its type, unit, reason and default. `WESGATE_…` in the environment beats
`wesgate.toml`; sections are joined by two underscores, as in `WESGATE_EXECUTORS__LOCAL__RUNTIME=podman`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]

STEPS_OWN = ("/tmp", "/var/tmp", "/dev", "/proc")  # noqa: S108  # named, not used
"""What each sandbox has anew, so that nothing of the host can be shown there."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Service(_Section):
    """What service-info says, and where clients find the service."""

    id: str = Field(default="org.wesgate", description="reverse domain name of the service")
    name: str = Field(default="wesgate", description="for people")
    description: str = Field(default="WES and TES over this site's own compute", description="for people")
    organization: str = Field(default="unnamed", description="who runs the service")
    organization_url: str = Field(default="https://example.org", description="their home page")
    contact_url: str = Field(default="", description="mailto: or https:")
    documentation_url: str = Field(default="https://example.org", description="also WES's auth_instructions_url")
    environment: str = Field(
        default="production", description="as GA4GH service-info has it: production, test, dev, staging"
    )
    public_url: str | None = Field(
        default=None, description="base of links, without a trailing slash; else as requests came"
    )


class Limits(_Section):
    """What one request may be."""

    body_bytes: Count = Field(default=1 << 30, description="largest request; attachments are most of it")
    json_bytes: Count = Field(
        default=16 << 20, description="largest JSON body, and all fields of a run's form without its attachments"
    )
    attachment_bytes: Count = Field(default=1 << 30, description="all attachments of a run together")


class Files(_Section):
    """Where files are."""

    root: Path | None = Field(default=None, description="the shared root, seen alike by all processes; else DATA/files")
    allowed: tuple[Path, ...] = Field(
        default=(), description="host directories in which file:// inputs and outputs may be"
    )
    shared: tuple[Path, ...] = Field(
        default=(),
        description="host directories, allowed as well, whose DIRECTORY inputs are mounted for writing where they are "
        "(Toil keeps its job store so)",
    )


class ObjectStore(_Section):
    """One place of objects."""

    url: str = Field(description="what its URLs begin with, as in s3:// or s3://bucket/; the longest that fits is used")
    options: dict[str, SecretStr] = Field(default_factory=dict, description="obstore's options: endpoint, region, keys")

    @field_validator("url")
    @classmethod
    def _names_a_store(cls, url: str) -> str:
        # A store of all hosts would send its credentials to whichever a submitter names.
        if not re.fullmatch(r"(s3|gs|az)://\S*|https?://[^\s/@?#]+/[^\s?#]*", url):
            raise ValueError("must begin with s3://, gs:// or az://, or be https://HOST/ with a container, if any")
        return url


class Storage(_Section):
    """Where objects are, besides the files of this machine."""

    stores: tuple[ObjectStore, ...] = Field(default=(), description="S3, Google and Azure stores, with credentials")


class Sources(_Section):
    """What may be fetched, for runs and for tasks."""

    allowed: tuple[str, ...] = Field(
        default=(),
        description="the workflows that may be run: what their URLs begin with, git repositories, or sha256:… of what "
        "was read; empty for all",
    )
    tree_max_mb: float = Field(
        default=1000, gt=0, allow_inf_nan=False, description="MB of a workflow's repository or zip bundle, unpacked"
    )
    tree_timeout_s: Seconds = Field(default=300, description="seconds to fetch a workflow with all that it imports")

    allow_private: bool = Field(
        default=False,
        description="whether workflow_url and http(s) inputs of runs and tasks may name hosts that are not public; "
        "link-local addresses, where cloud machines get their credentials, are refused in any case",
    )
    fetch_timeout_s: Seconds = Field(
        default=3600, description="seconds for one http(s) input of a run, and for all those of a task together"
    )
    fetch_max_gb: float = Field(default=1000, gt=0, allow_inf_nan=False, description="GB of one http(s) input at most")

    @field_validator("allowed")
    @classmethod
    def _can_be_compared(cls, allowed: tuple[str, ...]) -> tuple[str, ...]:
        for entry in allowed:
            if not re.fullmatch(r"sha256:[0-9a-f]{64}|(https?|trs|s3|gs|az)://\S+", entry):
                raise ValueError("must be beginnings of http(s), trs, s3, gs or az URLs, or sha256: with 64 hex digits")
        return allowed

    @property
    def fetch_max_bytes(self) -> int:
        return int(self.fetch_max_gb * 1e9)


class Slots(_Section):
    """What the machine gives to jobs at a time, so that a laptop is not overrun."""

    cpu_cores: float | None = Field(default=None, gt=0, description="cores; else all there are")
    ram_gb: float | None = Field(default=None, gt=0, description="GB; else nine tenths of what there is")
    gpus: Annotated[int, Field(ge=0)] = Field(default=0, description="GPUs that tasks may ask for, numbered from 0")
    heads: Count = Field(default=200, description="workflow engines at a time, in a lane of their own")


class Local(_Section):
    """The executor of this machine."""

    runtime: Literal[
        "auto", "podman", "docker", "process", "process:bubblewrap", "process:namespace", "process:plain"
    ] = Field(
        default="auto",
        description="what steps run in; auto takes the first of podman, docker, process that works, and process the "
        "first of its three",
    )
    slots: Slots = Slots()
    grace_s: Seconds = Field(default=10, description="seconds between TERM and KILL for a canceled step")
    pids: Count = Field(default=4096, description="processes that one container may have")
    disk_gb: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="GB that a task may write that asks for no disk; else all"
    )
    network: bool = Field(default=True, description="whether steps may use the network")
    visible: tuple[Path, ...] = Field(
        default=(), description="process runtime: more host directories to show, read-only"
    )
    max_attempts: Count = Field(
        default=3, description="tries of a job whose worker or machine was lost; steps that fail are not tried again"
    )
    max_preemptions: Annotated[int, Field(ge=0)] = Field(
        default=5, description="how often a job that was preempted is tried again, counted apart"
    )
    timeout_s: Seconds | None = Field(
        default=None, description="seconds that the steps of a task may take together; a task may ask for less"
    )
    price_per_hour_usd: float | None = Field(
        default=None, ge=0, description="what an hour of a task costs here, for clients that sum it up (Cromwell)"
    )

    @field_validator("visible")
    @classmethod
    def _can_be_shown(cls, visible: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in visible:
            if not path.is_absolute() or any(path.is_relative_to(own) for own in STEPS_OWN):
                raise ValueError(f"must be absolute paths outside of {', '.join(STEPS_OWN)}: steps have their own")
        return visible


class Tes(_Section):
    """How the TES API answers."""

    submitter: str = Field(
        default="",
        description="speak to every client as to this one (cromwell, nextflow, …: docs/reference/submitters.md); else "
        "to each as its task documents and its User-Agent tell",
    )


class Wes(_Section):
    """How the WES API answers."""

    client: str = Field(
        default="",
        description="speak to every client as to this one (agc, dockstore, toil, …: docs/reference/wes.md); else to "
        "each as it is recognized, and to all others in WES 1.1",
    )


class Runs(_Section):
    """What becomes of runs that have ended."""

    keep_days: float | None = Field(
        default=None,
        gt=0,
        le=36500,
        description="days for which the files of a run are kept after its end, outputs and logs among them; else for "
        "ever. The run itself stays known",
    )


class Webhooks(_Section):
    """How receivers are told of state changes of runs. Which hosts they may be is `sources.allow_private`, too."""

    timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=10, description="seconds that a receiver has to answer; what takes longer is told again later"
    )
    keep_h: float = Field(
        default=72, gt=0, le=8760, description="hours for which a receiver that fails is told again and again"
    )


class Executors(_Section):
    """Where tasks run."""

    local: Local = Local()


class Miniwdl(_Section):
    """The WDL engine."""

    task_concurrency: Annotated[int, Field(ge=1, le=200)] = Field(default=100, description="tasks of one run at a time")
    default_image: str = Field(default="ubuntu:22.04", description="for tasks that name none")
    images: dict[str, str] = Field(
        default_factory=dict, description="images to use in place of those that tasks name, each by its exact name"
    )
    head_memory_gb: float = Field(
        default=4.0,
        gt=0.5,
        description="GB of memory that a run's head may use: what it computes must not fill the machine",
    )
    call_cache: bool = Field(
        default=True, description="reuse what an owner's earlier run computed from the same inputs"
    )


class Engines(_Section):
    """What runs workflows."""

    api_url: str | None = Field(default=None, description="where head jobs reach this TES; else http://HOST:PORT")

    miniwdl: Miniwdl = Miniwdl()


def default_data() -> Path:
    """As root `/var/lib/wesgate`, else the XDG data home."""
    if os.geteuid() == 0:
        return Path("/var/lib/wesgate")
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "wesgate"


class Settings(BaseSettings):
    """All of it."""

    model_config = SettingsConfigDict(
        env_prefix="WESGATE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        toml_file="wesgate.toml",
        nested_model_default_partial_update=True,
    )

    data: Path = Field(default_factory=default_data, description="the embedded database, and the files by default")
    database_url: SecretStr | None = Field(
        default=None, description="a Postgres of 14 or newer; else an embedded one in DATA"
    )
    host: str = Field(default="127.0.0.1", description="address to bind; without access control only loopback is taken")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="0 takes any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="the least that is logged"
    )
    failpoints: str = Field(default="", description="for fault tests only: see wesgate.core.failpoints")
    service: Service = Service()
    limits: Limits = Limits()
    files: Files = Files()
    sources: Sources = Sources()
    storage: Storage = Storage()
    tes: Tes = Tes()
    wes: Wes = Wes()
    runs: Runs = Runs()
    webhooks: Webhooks = Webhooks()
    executors: Executors = Executors()
    engines: Engines = Engines()

    @property
    def files_root(self) -> Path:
        return (self.files.root or self.data / "files").absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # pydantic-settings' signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(toml: Path | None = None, **given: Any) -> Settings:
    """The settings: what was given on the command line, then the environment, then the file, then the defaults."""
    given = {name: value for name, value in given.items() if value is not None}
    found = toml or Path(os.environ.get("WESGATE_CONFIG", "wesgate.toml"))

    class _Settings(Settings):
        model_config = SettingsConfigDict(toml_file=found)

    return _Settings(**given)


OF_COMMANDS = ("url", "token", "output_to", "delete_after", "run_tags")
"""What the commands for people read, beside the service's own settings."""


def unknown_variables() -> list[str]:
    """The variables that begin as ours do and set nothing: misspelled ones, most likely."""
    known = {*Settings.model_fields, "config", *OF_COMMANDS}
    named = [name for name in os.environ if name.startswith("WESGATE_") and not name.startswith("WESGATE_TEST_")]
    return [name for name in named if name.removeprefix("WESGATE_").lower().partition("__")[0] not in known]


def environment() -> dict[str, str]:
    """The process's environment, for the programs that it starts."""
    return dict(os.environ)
