"""Search spaces as data: `experiments/search/ENGINE.yaml` says what is searched and where a search starts."""

from collections.abc import Collection
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.interface import Machine, Setting
from harness import yaml_text
from harness.data.resources import resource
from harness.errors import UserError

CORES = "cores"
"""Stands for the number of usable cores where a knob counts processes or threads."""


class OnGpu(BaseModel):
    """What is different where a search runs on a GPU."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Annotated[
        dict[str, list[Setting]], Field(description="values to try instead of, or beside, those of the CPU")
    ] = {}
    start: Annotated[
        list[dict[str, Setting]], Field(description="tried first in place of the starts of the CPU")
    ] = []


class Experiment(BaseModel):
    """What to search on one engine. Knobs that `search` does not name keep their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Annotated[
        dict[str, list[Setting]] | None,
        Field(description="knob: values to try, one alone fixes it; absent: every knob, whole grid"),
    ] = None
    start: Annotated[
        list[dict[str, Setting]],
        Field(description="settings to try first, best guess first and the most careful last"),
    ] = []
    optional: Annotated[
        list[str], Field(description="knobs that the engine leaves out where they would do nothing")
    ] = []

    gpu: Annotated[OnGpu | None, Field(description="what is different on a GPU; absent: nothing")] = None

    def on(self, device: str) -> "Experiment":
        """The experiment on `device` ("cpu", "cuda:0", ...)."""
        if self.gpu is None or device == "cpu":
            return self
        search = None if self.search is None else {**self.search, **self.gpu.search}
        return self.model_copy(update={"search": search, "start": self.gpu.start, "gpu": None})

    def for_knobs(self, names: Collection[str]) -> "Experiment":
        """The same without the optional knobs that are not among `names`."""
        absent = {*self.optional} - {*names}
        starts = [
            {knob: value for knob, value in start.items() if knob not in absent} for start in self.start
        ]
        return self.model_copy(update={"start": starts})


def read_experiment(engine: str, device: str, machine: Machine) -> Experiment:
    """The experiment of an engine on one device of this machine; one without a file is searched whole.

    Raises UserError.
    """
    try:
        path = resource(f"experiments/search/{engine}.yaml")
    except FileNotFoundError:
        return Experiment()
    try:
        read = Experiment.model_validate(yaml_text.parse(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path} is not an experiment: {str(error).splitlines()[0]}") from error

    def meant(value: Setting) -> Setting:
        return machine.cores if value == CORES else value

    here = read.on(device)
    return Experiment(
        search=here.search
        and {knob: [meant(value) for value in values] for knob, values in here.search.items()},
        start=[{knob: meant(value) for knob, value in start.items()} for start in here.start],
        optional=here.optional,
    )
