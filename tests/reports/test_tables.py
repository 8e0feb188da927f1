import csv
import io
import json
from dataclasses import replace
from statistics import median_low

import jiwer
import pytest

import reports
from harness.values import Failure, Measurement
from reports.tables import run_json
from reports.view import derive
from tests.reports import factory


def test_csv_has_one_row_a_trial_and_one_column_a_setting() -> None:
    study = factory.study(trials=20, pages=6)
    text = reports.trials_csv(study)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert text.startswith(
        "number,phase,id,engine,device,outcome,pages,pages_per_second,p50_ms,p95_ms,"
        "cer,wer,rss_peak_mib,cold_start_s,wall_s,note,set."
    )
    assert list(rows[0])[16:] == sorted(f"set.{knob}" for knob in factory.DEFAULTS)
    assert [int(row["number"]) for row in rows] == [trial.number for trial in study.trials]
    for row, trial in zip(rows, study.trials, strict=True):
        assert {k.removeprefix("set."): v for k, v in row.items() if k.startswith("set.")} == {
            name: str(value) for name, value in trial.variant.settings.items()
        }
        assert row["id"] == trial.variant.id


def test_figures_of_the_csv_are_those_of_the_raw_facts() -> None:
    study = factory.study(trials=20, pages=6)
    texts = {page.page_id: " ".join(page.text.split()) for page in study.references}
    for row, trial in zip(csv.DictReader(io.StringIO(reports.trials_csv(study))), study.trials, strict=True):
        if isinstance(trial.outcome, Failure):
            assert row["outcome"] == trial.outcome.kind
            assert not row["pages_per_second"] + row["cer"] + row["p50_ms"] + row["cold_start_s"]
            continue
        pages = trial.outcome.pages
        read = [" ".join(page.text.split()) for page in pages]
        expected = [texts[page.page_id] for page in pages]
        assert row["outcome"] == "ok"
        assert float(row["pages_per_second"]) == pytest.approx(
            len(pages) / sum(b.wall_s for b in trial.outcome.blocks)
        )
        assert float(row["p50_ms"]) == pytest.approx(1000 * median_low(page.seconds for page in pages))
        assert float(row["cer"]) == pytest.approx(jiwer.cer(expected, read))
        assert float(row["wer"]) == pytest.approx(jiwer.wer(expected, read))
        assert row["p95_ms"] == "", "six pages say nothing of the 95th percentile"


def test_a_page_that_was_read_twice_counts_once_for_accuracy_and_twice_for_speed() -> None:
    study = factory.study(trials=3, pages=6)
    outcome = study.trials[0].outcome
    assert isinstance(outcome, Measurement)
    twice = replace(outcome, blocks=outcome.blocks * 2)
    doubled = replace(study, trials=(replace(study.trials[0], outcome=twice), *study.trials[1:]))
    once, again = (next(csv.DictReader(io.StringIO(reports.trials_csv(s)))) for s in (study, doubled))
    assert once["pages"] == again["pages"] == "6"
    assert once["cer"] == again["cer"]
    assert float(once["pages_per_second"]) == pytest.approx(float(again["pages_per_second"]))


def test_json_of_a_run_parses_strictly_and_holds_its_figures() -> None:
    study = factory.study(trials=12, pages=6)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    document = json.loads(run_json(derive(study)), parse_constant=refuse)
    assert len(document["trials"]) == len(study.trials)
    assert document["best"] == dict(factory.BEST.settings)
    assert document["comparisons"][1]["speedup"] == pytest.approx({"value": 4.2, "low": 3.99, "high": 4.41})
    pages = document["pages"]["best"]
    rate = sum(page["edits"] for page in pages) / sum(page["reference_chars"] for page in pages)
    assert rate == pytest.approx(document["comparisons"][1]["cer_b"]["value"])
