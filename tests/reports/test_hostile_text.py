import csv
import io
import re
from dataclasses import replace

import pytest

import reports
from engines.interface import Gpu, Line
from harness.values import (
    Block,
    CounterSample,
    DataSummary,
    Failure,
    FailureKind,
    Measurement,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
    with_settings,
)
from tests.reports import factory
from tests.reports.html import Element, sound

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' ]]> --> </style> {{ 7 * 7 }} "
    "$\\frac{1}{0}$ \u202egnp.exe\u2066 \x00\x1b[31m\x07\x85 \ud800 https://example.org/x &lt; %s {0} #000001"
)


def test_text_of_a_page_from_anywhere_does_nothing() -> None:
    page = reports.render([hostile_study()])
    document = sound(page)
    everything = visible(document)
    assert "<script>alert(1)</script>" in everything
    assert "{{ 7 * 7 }}" in everything
    assert "‹U+202E›gnp.exe‹U+2066›" in everything
    assert "␀␛[31m␇" in everything
    page.encode("utf-8")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page)


def test_hostile_text_does_not_break_the_files_either() -> None:
    text = reports.trials_csv(hostile_study())
    text.encode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(hostile_study().trials)
    assert all("␀␛[31m␇" in row["note"] for row in rows)


def test_differences_are_isolated_from_the_direction_of_their_surroundings() -> None:
    document = sound(reports.render([hostile_study()]))
    differences = [e for e in document.all() if e.attributes.get("class") == "difference"]
    assert differences
    assert all(difference.attributes["dir"] == "auto" for difference in differences)
    for cell in [*document.find("td"), *document.find("dd")]:
        assert cell.find("bdi"), cell.text


@pytest.mark.parametrize("text", ["الفاتورة", "发票总额", "क्षेत्र", "ก็" * 20])
def test_text_of_other_scripts_stays_as_it_is(text: str) -> None:
    page = sound(reports.render([with_read_text(factory.study(trials=3, pages=3), text)]))
    worst = page.by_id("worst")
    assert worst is not None
    assert text in {added.text for added in worst.find("ins")}


def test_a_long_text_is_cut_and_says_so() -> None:
    page = sound(reports.render([with_read_text(factory.study(trials=3, pages=3), "x" * 90_000)]))
    worst = page.by_id("worst")
    assert worst is not None
    assert re.search(r"[89]\d,\d{3} more characters are not shown", worst.text)


def visible(document: Element) -> str:
    return document.find("main")[0].text


def with_read_text(study: Study, text: str) -> Study:
    """The study, with `text` in place of what was read on every page."""

    def changed(trial: TrialResult) -> TrialResult:
        if isinstance(trial.outcome, Failure):
            return trial
        blocks = tuple(
            Block(tuple(replace(page, lines=(Line(text),)) for page in block.pages), block.wall_s)
            for block in trial.outcome.blocks
        )
        return replace(trial, outcome=replace(trial.outcome, blocks=blocks))

    return replace(study, trials=tuple(map(changed, study.trials)))


def hostile_study() -> Study:
    """A study with `HOSTILE` in every text that a file, an engine or a machine may hold."""
    study = factory.study(trials=12, pages=6)

    def variant(old: Variant) -> Variant:
        return with_settings(old, **{HOSTILE: HOSTILE + str(old.settings["rec_batch"])})

    def reference(page: ReferencePage) -> ReferencePage:
        return replace(
            page,
            page_id=page.page_id + HOSTILE,
            set=page.set + HOSTILE,
            text=page.text + HOSTILE,
            path=HOSTILE,
        )

    def outcome(old: Measurement | Failure) -> Measurement | Failure:
        if isinstance(old, Failure):
            return Failure(old.kind, HOSTILE, HOSTILE, (HOSTILE,))
        blocks = tuple(
            Block(
                tuple(
                    replace(
                        page,
                        page_id=page.page_id + HOSTILE,
                        lines=(*page.lines, Line(HOSTILE * 2)),
                        stage_s={HOSTILE: 0.1, **page.stage_s},
                        error=HOSTILE,
                    )
                    for page in block.pages
                ),
                block.wall_s,
            )
            for block in old.blocks
        )
        samples = tuple(CounterSample(s.at_s, {HOSTILE: 1.0, **s.values}) for s in old.samples)
        return Measurement(old.cold_start_s, blocks, samples, {HOSTILE: HOSTILE})

    return replace(
        study,
        id=HOSTILE,
        created=HOSTILE,
        engine=HOSTILE,
        device=HOSTILE,
        objective=HOSTILE,
        fingerprint=HOSTILE,
        machine=replace(
            study.machine,
            cpu_model=HOSTILE,
            kernel=HOSTILE,
            python=HOSTILE,
            gpus=(Gpu(0, HOSTILE, 1, HOSTILE),),
        ),
        versions={HOSTILE: HOSTILE},
        data=(DataSummary(HOSTILE, HOSTILE, 1, HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),)),),
        references=tuple(map(reference, study.references)),
        trials=tuple(
            replace(trial, variant=variant(trial.variant), outcome=outcome(trial.outcome), note=HOSTILE)
            for trial in study.trials
        ),
        comparisons=tuple(
            replace(c, a=variant(c.a), b=variant(c.b), failure=HOSTILE) for c in study.comparisons
        ),
        best=variant(factory.BEST),
        cautions=(HOSTILE, f"odd: {HOSTILE}"),
    )


def test_the_hostile_study_fails_in_every_kind_of_way_too() -> None:
    """The study above is only as good as the places that it reaches."""
    kinds = {trial.outcome.kind for trial in hostile_study().trials if isinstance(trial.outcome, Failure)}
    assert kinds == {FailureKind.OOM, FailureKind.CRASH}
