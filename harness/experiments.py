"""Search spaces as data: `experiments/search/ENGINE.yaml` says what is searched and where a search starts."""

from collections.abc import Collection
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.interface import Machine, Setting
from harness.data.resources import resource
from harness.errors import UserError

CORES = "cores"
"""Stands for the number of usable cores where a knob counts processes or threads."""


class Experiment(BaseModel):
    """What to search on one engine. Knobs that `search` does not name keep their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Annotated[
        dict[str, list[Setting]] | None,
        Field(description="knob: values to try, one alone fixes it; absent: every knob, whole grid"),
    ] = None
    start: Annotated[
        list[dict[str, Setting]], Field(description="settings to try first, best guess first")
    ] = []
    optional: Annotated[
        list[str], Field(description="knobs that the engine leaves out where they would do nothing")
    ] = []

    def for_knobs(self, names: Collection[str]) -> "Experiment":
        """The same without the optional knobs that are not among `names`."""
        absent = {*self.optional} - {*names}
        starts = [
            {knob: value for knob, value in start.items() if knob not in absent} for start in self.start
        ]
        return self.model_copy(update={"start": starts})


def read_experiment(engine: str, machine: Machine) -> Experiment:
    """The experiment of an engine on this machine; one without a file is searched whole. Raises UserError."""
    try:
        path = resource(f"experiments/search/{engine}.yaml")
    except FileNotFoundError:
        return Experiment()
    try:
        read = Experiment.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path} is not an experiment: {str(error).splitlines()[0]}") from error

    def meant(value: Setting) -> Setting:
        return machine.cores if value == CORES else value

    return Experiment(
        search=read.search
        and {knob: [meant(value) for value in values] for knob, values in read.search.items()},
        start=[{knob: meant(value) for knob, value in start.items()} for start in read.start],
        optional=read.optional,
    )
