"""From a run's directory to what can be run: its workflow read, its inputs found."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wesgate.engines.miniwdl.config import HeadPlan, run_options
from wesgate.engines.miniwdl.head.documents import Sources, Workflow, load_inputs, load_workflow, trees
from wesgate.engines.miniwdl.head.inputs import Exe, Places, choose


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workflow, and what of it is to be run."""

    plan: HeadPlan
    sources: Sources
    workflow: Workflow
    exe: Exe

    def params(self) -> dict[str, Any]:
        """The run's inputs as JSON, with those that come from elsewhere."""
        own = json.loads((self.sources.run / "inputs.json").read_text(encoding="utf-8"))
        return load_inputs(self.workflow.arrived, self.plan.inputs_url, own, self.sources)

    def places(self) -> Places:
        """Where the files among the inputs are sought; `params` was called before."""
        run = self.sources.run
        roots = (Path(self.plan.owner_directory), *map(Path, self.plan.settings.roots))
        trees_there, stores = trees(self.workflow.arrived, run), self.plan.settings.stores
        return Places(run / "attachments", roots, trees_there, self.plan.owner_directory, stores)


def prepare(directory: Path, plan: HeadPlan, stop: Callable[[], bool]) -> Prepared:
    """Read the workflow of a run; raises what is wrong with it. `stop` is asked often."""
    sources = Sources(directory, plan.settings.fetching, plan.settings.stores, stop)
    workflow = load_workflow(plan.workflow, sources)
    return Prepared(plan, sources, workflow, choose(workflow.document, run_options(plan).task))
