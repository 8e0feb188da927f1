"""The sections of the page, in order. A new one: a function that returns blocks, and a row in `SECTIONS`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.blocks import Block, Panel
from reports.sections.accuracy import sets, worst
from reports.sections.answer import answer
from reports.sections.matters import matters
from reports.sections.proof import confirmation, overview, settings
from reports.sections.record import cautions, failures, profile, provenance, trials
from reports.sections.speed import counters, history, pareto, stages
from reports.view import Run


@dataclass(frozen=True, slots=True)
class Section:
    """One section: a heading and what it builds. Runs and sections that have nothing to show are left out."""

    id: str
    title: str
    build: Callable[[Sequence[Run]], Sequence[Panel]]
    lead: str = ""


def each(build: Callable[[Run], Sequence[Block]]) -> Callable[[Sequence[Run]], Sequence[Panel]]:
    """A section that shows every run by itself, side by side."""

    def panels(runs: Sequence[Run]) -> Sequence[Panel]:
        built = [Panel(run.label, build(run)) for run in runs]
        return [panel for panel in built if panel.blocks]

    return panels


SECTIONS: tuple[Section, ...] = (
    Section("answer", "The answer", each(answer)),
    Section("overview", "Runs side by side", overview),
    Section("settings", "What to set", each(settings)),
    Section("cautions", "Cautions", each(cautions), "What to settle before relying on the figures."),
    Section("confirmation", "Confirmation", each(confirmation)),
    Section(
        "pareto",
        "Speed against accuracy",
        each(pareto),
        "Each mark is one trial. Best is low and to the right.",
    ),
    Section("stages", "Where the time goes", each(stages)),
    Section("profile", "Profile", each(profile), "Layers, functions and traces of one variant."),
    Section("counters", "What the machine did", each(counters)),
    Section(
        "matters",
        "Which settings matter",
        each(matters),
        "What the speed depended on, and whether each setting changed time, memory or output at all.",
    ),
    Section("history", "How the search went", each(history)),
    Section("sets", "Accuracy by data set", each(sets)),
    Section("worst", "Worst pages", each(worst)),
    Section(
        "failures", "Failures", each(failures), "A failed trial is a result: these settings do not work here."
    ),
    Section("provenance", "Machine, versions and data", each(provenance)),
    Section("trials", "All trials", each(trials)),
)
