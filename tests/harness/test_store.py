import math
from pathlib import Path

import pytest

from engines.interface import Line, Machine
from harness.errors import UserError
from harness.store import RunFolder, write_atomic
from harness.values import (
    Block,
    Comparison,
    Constraints,
    CounterSample,
    Failure,
    FailureKind,
    Interval,
    Measurement,
    PageRecord,
    ReferencePage,
    Study,
    TrialResult,
    Variant,
    Verdict,
)

VARIANT = Variant("ppocr", "cpu", {"flag": True, "number": 1, "share": 0.5, "name": "x"})
LINE = Line("ſtrange \u202e text\x00", ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), 0.5)
MEASURED = TrialResult(
    3,
    VARIANT,
    "search",
    1.5,
    2.5,
    Measurement(
        0.7,
        (Block((PageRecord("s/p", (LINE,), 0.1, {"detect": 0.05}, retreats=1),), 0.2),),
        (CounterSample(0.1, {"cpu_pct": 99.5}),),
        {"gpu0_util_pct": "no GPU"},
    ),
    "a note",
)
FAILED = TrialResult(4, VARIANT, "search", 4.0, 1.0, Failure(FailureKind.OOM, "read", "too large", ("tail",)))


def study(**changes: object) -> Study:
    unknown = Interval(math.nan, -math.inf, math.inf)
    one = Interval(1.0, 0.5, 2.0)
    facts: dict[str, object] = {
        "id": "x",
        "created": "2026-01-01T00:00:00+00:00",
        "engine": "ppocr",
        "device": "cpu",
        "objective": "throughput",
        "budget_s": 60.0,
        "spent_s": 10.0,
        "seed": 0,
        "constraints": Constraints(),
        "machine": Machine("cpu", 2, 1024, cpu_flags=frozenset({"avx2", "sse"})),
        "fingerprint": "f",
        "versions": {"ppocr": "1"},
        "data": (),
        "references": (ReferencePage("s/p", "s", "d", "text", "default"),),
        "trials": (MEASURED, FAILED),
        "comparisons": (
            Comparison(VARIANT, VARIANT, (0.1,), unknown, Verdict.INCONCLUSIVE, one, one, one, 5),
        ),
        "best": VARIANT,
        "cautions": ("busy: ...",),
    }
    return Study(**{**facts, **changes})  # type: ignore[arg-type]


def saved(folder: Path) -> RunFolder:
    run = RunFolder.create(folder)
    run.save_trial(MEASURED)
    run.save_trial(FAILED)
    run.save_study(study())
    return run


def test_a_study_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    again = saved(tmp_path / "run").study()
    assert again.trials == (MEASURED, FAILED)
    assert [type(v) for v in again.trials[0].variant.settings.values()] == [bool, str, int, float]
    assert again.comparisons[0].speedup.high == math.inf
    assert math.isnan(again.comparisons[0].speedup.value)
    assert again.machine == study().machine
    assert again.references == study().references


def test_a_trial_that_was_cut_off_is_not_among_the_finished_ones(tmp_path: Path) -> None:
    run = saved(tmp_path / "run")
    half = run.trial(9, "abc")
    half.mkdir()
    (half / ".result.json.77.tmp").write_text('{"number": 9, "vari')
    assert [trial.number for trial in run.trials()] == [3, 4]


def test_a_write_that_fails_leaves_the_old_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "file"
    write_atomic(target, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(target, "new \ud800")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a run folder"):
        RunFolder.existing(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": 1}', "null", "\x00\x01"])
def test_a_damaged_study_is_a_clear_refusal(tmp_path: Path, text: str) -> None:
    run = saved(tmp_path / "run")
    run.study_json.write_text(text)
    with pytest.raises(UserError, match="is damaged or of another version"):
        run.study()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="choose another folder with --out"):
        RunFolder.create(tmp_path / "file" / "run")


def test_a_profile_is_linked_from_wherever_the_page_lies(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "my run")
    assert folder.profile_seen_from(folder.report_html) is None
    folder.profile.mkdir()
    (folder.profile / "index.html").write_text("")
    assert folder.profile_seen_from(folder.report_html) == "profile/index.html"
    assert folder.profile_seen_from(tmp_path / "both.html") == "my%20run/profile/index.html"
