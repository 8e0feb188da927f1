"""What sections show, derived once from a study: every figure comes from here or from the study itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engines.interface import Setting
from harness.accuracy.scores import PageScore, Summary, score_page, summarise
from harness.bounds import violations_of
from harness.figures import over_all_pages, proof_of
from harness.machine import Caution
from harness.stats import percentile
from harness.values import (
    Comparison,
    Failure,
    Measurement,
    PageRecord,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
)

Thumbnail = Callable[[ReferencePage], bytes | None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial with its figures."""

    result: TrialResult
    records: Mapping[str, PageRecord]
    """The first reading of each page, by page id; empty where the trial failed."""
    scores: tuple[PageScore, ...]
    """One a page of `records` that has a reference page."""
    summary: Summary | None
    """The pooled scores, None where no page that was read has text to be read."""
    partial: bool
    """It was dropped before it had read every page of the search: its figures do not compare with others."""
    pages_per_second: float | None
    """Over all pages of the search where it is not partial, None where nothing was measured."""

    @property
    def number(self) -> int:
        """The trial's number in its study."""
        return self.result.number

    @property
    def variant(self) -> Variant:
        """What was tried."""
        return self.result.variant

    @property
    def measurement(self) -> Measurement | None:
        """Raw facts, None where the trial failed or ended before its first page."""
        outcome = self.result.outcome
        return outcome if isinstance(outcome, Measurement) and outcome.pages else None

    @property
    def failure(self) -> Failure | None:
        """Why there is no measurement, None where there is one."""
        return self.result.outcome if isinstance(self.result.outcome, Failure) else None

    def latency_ms(self, p: float) -> float | None:
        """A percentile of the milliseconds per page, None where there are too few pages for it."""
        seconds = [page.seconds for page in self.measurement.pages] if self.measurement else []
        found = percentile(seconds, p)
        return None if found is None else found * 1000

    @property
    def cer(self) -> float | None:
        """Character error rate over the pages that were read."""
        return self.summary.cer if self.summary else None

    @property
    def wer(self) -> float | None:
        """Word error rate over the pages that were read, None for texts without words."""
        return self.summary.wer if self.summary else None

    def counter(self, name: str) -> list[tuple[float, float]]:
        """Samples of a counter as (seconds since the process started, value)."""
        samples = self.measurement.samples if self.measurement else ()
        return [(sample.at_s, sample.values[name]) for sample in samples if name in sample.values]

    @property
    def rss_peak_mib(self) -> float | None:
        """The highest resident memory of the trial's processes that was sampled."""
        return max((value for _, value in self.counter("rss_mib")), default=None)

    @property
    def stage_ms(self) -> dict[str, float]:
        """Mean milliseconds of work per page, by stage."""
        return self.measurement.stage_ms if self.measurement else {}


@dataclass(frozen=True, slots=True)
class Run:
    """A study as the page shows it."""

    study: Study
    key: str
    """Names the run within the page, in identifiers."""
    label: str
    config: str
    """Path of the run's best.yaml as a command would name it."""
    thumbnail: Thumbnail
    drift: bool
    """There is no ground truth: `references` then hold the baseline's own output."""
    references: Mapping[str, ReferencePage]
    trials: tuple[Trial, ...]
    baseline: Trial | None
    """The baseline on the pages of the search, None where it was not measured."""
    best: Trial | None
    """The chosen variant on the pages of the search; None where nothing was chosen or measured."""
    confirmed: Mapping[str, Trial]
    """`baseline` and `best` side by side in the confirmation; empty where there was none."""
    comparison: Comparison | None
    """The confirmation of the chosen variant."""
    profile: str | None = None
    """The address of the run's profile, as seen from the page."""

    @property
    def error_name(self) -> str:
        """What an error rate is called here."""
        return "drift" if self.drift else "CER"

    @property
    def searched(self) -> tuple[Trial, ...]:
        """Baseline and search: trials on the pages of the search."""
        return tuple(trial for trial in self.trials if trial.result.phase != "confirm")

    @property
    def measured(self) -> tuple[Trial, ...]:
        """Trials on the pages of the search that gave a throughput."""
        return tuple(trial for trial in self.searched if trial.pages_per_second)

    @property
    def watched(self) -> dict[str, Trial]:
        """Baseline and best in the search, where counters are sampled; one entry where they are the same."""
        both = {"baseline": self.baseline, "best": self.best}
        if self.baseline and self.best and self.baseline.variant == self.best.variant:
            del both["best"]
        return {side: trial for side, trial in both.items() if trial}

    @property
    def sides(self) -> Mapping[str, Trial]:
        """Baseline and best on the same pages: those of the confirmation where there was one."""
        return self.confirmed or self.watched

    @property
    def pages_named(self) -> str:
        """Which pages the figures of `sides` are of."""
        return self.confirmation_pages if self.confirmed else "pages of the search"

    @property
    def confirmation_pages(self) -> str:
        """What the pages of the confirmation are to the search: new, unless one of its trials read some."""
        seen = {page for trial in self.searched for page in trial.records}
        overlap = any(page in seen for trial in self.confirmed.values() for page in trial.records)
        return "pages, some of them known to the search" if overlap else "pages that the search never saw"

    def changes(self, variant: Variant) -> dict[str, tuple[Setting | None, Setting]]:
        """Settings of `variant` that differ from the defaults: (default, variant); None where it does not act."""
        first = self.study.shipped.variant.settings if self.study.shipped else {}
        pairs = {name: (first.get(name), value) for name, value in sorted(variant.settings.items())}
        return {name: pair for name, pair in pairs.items() if repr(pair[0]) != repr(pair[1])}

    def cer_increase(self, trial: Trial) -> float | None:
        """CER of `trial` minus that of the baseline on those pages of the search that both read."""
        if self.baseline is None:
            return None
        ours, theirs = shared(self.baseline.scores, trial.scores)
        if not any(score.has_reference for score in ours):
            return None
        return summarise(theirs).cer - summarise(ours).cer

    def admissible(self, trial: Trial) -> bool:
        """Whether a whole trial met the constraints as measured; the choice also asks how sure that is."""
        if trial.measurement is None or trial.partial:
            return False
        bounds = self.study.constraints
        increase = self.cer_increase(trial)
        within = all(missed <= 0 for missed in violations_of(trial.measurement, bounds).values())
        return within and (increase is None or increase <= bounds.max_cer_increase)


def no_picture(_: ReferencePage) -> bytes | None:
    """The thumbnail of a caller that has no page images."""
    return None


def derive(
    study: Study,
    *,
    key: str = "r1",
    folder: Path | None = None,
    thumbnail: Thumbnail = no_picture,
    profile: str | None = None,
) -> Run:
    """Compute what the page shows of `study`, whose run folder is `folder` and whose profile is at `profile`."""
    references = {page.page_id: page for page in study.references}
    blank = not any(page.text.strip() for page in study.references)
    if blank:
        references = _own_output(references, study)
    trials = _trials(study, references)
    baseline = next((t for t in trials if t.result is study.baseline and t.measurement), None)
    return Run(
        study=study,
        key=key,
        label=folder.name if folder and folder.name else study.id,
        config=str(folder / "best.yaml") if folder else "best.yaml",
        thumbnail=thumbnail,
        drift=blank or Caution.NO_GROUND_TRUTH.sentence in study.cautions,
        references=references,
        trials=trials,
        baseline=baseline,
        best=_best(study, trials),
        confirmed=_confirmed(study, trials),
        comparison=next((c for c in reversed(study.comparisons) if c.b == study.best), None),
        profile=profile,
    )


def shared(a: Sequence[PageScore], b: Sequence[PageScore]) -> tuple[list[PageScore], list[PageScore]]:
    """The scores of the pages that both sides read, in the order of `a`."""
    second = {score.page_id: score for score in b}
    pairs = [(score, second[score.page_id]) for score in a if score.page_id in second]
    return [first for first, _ in pairs], [other for _, other in pairs]


def _own_output(references: Mapping[str, ReferencePage], study: Study) -> dict[str, ReferencePage]:
    outcome = study.baseline.outcome if study.baseline else None
    pages = outcome.pages if isinstance(outcome, Measurement) else ()
    texts = {page.page_id: page.text for page in reversed(pages)}
    return {name: replace(page, text=texts.get(name, "")) for name, page in references.items()}


def _trials(study: Study, references: Mapping[str, ReferencePage]) -> tuple[Trial, ...]:
    known: dict[tuple[str, str], PageScore] = {}  # most settings leave the text as it is

    def score(page: PageRecord) -> PageScore:
        key = (page.page_id, page.text)
        if key not in known:
            known[key] = score_page(references[page.page_id], page.lines)
        return known[key]

    figures = over_all_pages(study)

    def shown(trial: TrialResult) -> Trial:
        pages_per_second, reading = figures.get(trial.number, (_own_speed(trial.outcome), trial.outcome))
        records = reading.first_readings if isinstance(reading, Measurement) else {}
        scores = [score(page) for page in records.values() if page.page_id in references]
        readable = any(score.has_reference for score in scores)
        return Trial(
            trial,
            records,
            tuple(scores),
            summarise(scores) if readable else None,
            trial.phase != "confirm" and trial.number not in figures,
            pages_per_second,
        )

    return tuple(shown(trial) for trial in study.trials)


def _own_speed(outcome: Measurement | Failure) -> float | None:
    return outcome.pages_per_second if isinstance(outcome, Measurement) and outcome.busy_s > 0 else None


def _best(study: Study, trials: Sequence[Trial]) -> Trial | None:
    """The chosen variant's trial of the search that read most pages, the latest of equals."""
    chosen = [t for t in trials if t.variant == study.best and t.result.phase != "confirm" and t.measurement]
    return max(chosen, key=lambda trial: (len(trial.records), trial.number), default=None)


def _confirmed(study: Study, trials: Sequence[Trial]) -> dict[str, Trial]:
    proof = proof_of(study, study.best) if study.best else None
    by_number = {trial.number: trial for trial in trials}
    return (
        dict(zip(("baseline", "best"), (by_number[side.number] for side in proof), strict=True))
        if proof
        else {}
    )
