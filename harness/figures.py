"""Figures that trials of different pages can be compared by. Pure."""

import math
from collections.abc import Iterable

from harness.values import Measurement, Study, TrialResult, Variant


def over_all_pages(study: Study) -> dict[int, tuple[float, Measurement]]:
    """What trials of the search give on all of its pages, by their numbers: pages a second, and how they are read.

    A trial that read a few pages, for it was known how it reads, is shown by one that reads these alike and has read
    all; the few stand for as much of the work as the baseline spent there. One that was dropped half-way is left out.
    """
    baseline = study.baseline.outcome if study.baseline else None
    if not isinstance(baseline, Measurement):
        return {}
    spent_s = {page.page_id: page.seconds for page in baseline.pages}
    measured = [
        (trial, trial.outcome)
        for trial in study.trials
        if trial.phase != "confirm" and isinstance(trial.outcome, Measurement) and trial.outcome.busy_s
    ]
    all_s = sum(spent_s.values())
    # Most settings leave the text as it is.
    whole = {_texts(outcome): outcome for _, outcome in measured if len(outcome.pages) >= len(spent_s)}
    found = {}
    for trial, outcome in measured:
        if len(outcome.pages) >= len(spent_s):
            found[trial.number] = (outcome.pages_per_second, outcome)
            continue
        read = _texts(outcome)
        alike = next((other for texts, other in whole.items() if read <= texts), None)
        if alike and all_s and not trial.note:
            share = sum(spent_s[page.page_id] for page in outcome.pages) / all_s
            found[trial.number] = (share * len(spent_s) / outcome.busy_s, alike)
    return found


def proof_of(study: Study, variant: Variant) -> tuple[TrialResult, TrialResult] | None:
    """The baseline and the variant as the last proof of it measured them side by side, None where none did.

    A run that was taken up again may hold several proofs, of which not every one has the variant.
    """
    proofs = [
        trial for trial in study.trials if trial.phase == "confirm" and isinstance(trial.outcome, Measurement)
    ]
    base = study.baseline.variant if study.baseline else None
    last = next((trial for trial in reversed(proofs) if trial.variant == variant), None)
    beside = (
        trial for trial in proofs if last and trial.variant == base and trial.started_s == last.started_s
    )
    baseline = next(beside, None)
    return (baseline, last) if baseline and last else None


def undominated(points: Iterable[tuple[int, float, float]]) -> list[int]:
    """Of trials as (number, pages a second, CER) the numbers of those that no other beats on both, fastest first."""
    front: list[int] = []
    least = math.inf
    for number, _, cer in sorted(points, key=lambda point: (-point[1], point[2], point[0])):
        if cer < least:
            least = cer
            front.append(number)
    return front


def _texts(measurement: Measurement) -> frozenset[tuple[str, str]]:
    """What is read on which page, by page id."""
    return frozenset((page.page_id, page.text) for page in measurement.pages)
