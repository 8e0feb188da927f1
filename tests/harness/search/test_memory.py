"""What a run takes from earlier ones: settings that were proven, never figures."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from engines.interface import Choice, Gpu, Knob, Machine, Ordered, Setting
from harness.machine import fingerprint
from harness.search.memory import earlier_runs, starts
from harness.space import Space
from harness.store import RunFolder
from harness.values import Comparison, Interval, Study, Variant, Verdict
from tests.harness.test_store import study

SPACE = Space(
    "ppocr",
    "cuda:0",
    (
        Knob("batch", "recognise", Ordered((1, 2, 4, 8)), 1, "pages at once"),
        Knob("sample", "build", Choice(("",), open=True), "", "names a file of this machine"),
    ),
)
MACHINE = Machine("CPU", 8, 16384, gpus=(Gpu(0, "GPU", 80000, driver="570"),))
HERE = fingerprint(MACHINE, {"onnxruntime": "1.24", "weights": "1a"})


def ran(fingerprint: str = HERE, proven: bool = True, **settings: Setting) -> Study:
    """A finished run with those settings as its best."""
    one = Interval(1.0, 0.9, 1.1)
    baseline, best = (Variant("ppocr", "cuda:0", chosen) for chosen in ({"batch": 1}, settings))
    proof = Comparison(baseline, best, (0.7,), Interval(2, 1.5, 2.5), Verdict.FASTER, one, one, one, 8)
    facts = study(fingerprint=fingerprint, comparisons=(proof,) if proven else (), best=best)
    return replace(facts, engine="ppocr", device="cuda:0", objective="throughput")


def test_the_newest_proof_of_this_machine_comes_first_and_others_are_suggestions() -> None:
    studies = [ran("x", batch=2), ran(batch=8), ran(batch=4), ran("y", batch=2), ran("z", batch=1)]
    own, others = starts(studies, ran(), SPACE, suggestions=2)
    assert own == [{"batch": 8}]
    assert others == [{"batch": 2}, {"batch": 1}]
    assert starts(studies, ran(), SPACE, suggestions=1) == (own, others[:1])


@pytest.mark.parametrize(
    "changed",
    [
        fingerprint(
            replace(MACHINE, gpus=(replace(MACHINE.gpus[0], driver="580"),)), {"onnxruntime": "1.24"}
        ),
        fingerprint(MACHINE, {"onnxruntime": "1.25", "weights": "1a"}),
        fingerprint(MACHINE, {"onnxruntime": "1.24", "weights": "2b"}),
    ],
    ids=["driver", "runtime", "weights"],
)
def test_what_was_best_before_a_change_is_a_suggestion_at_most(changed: str) -> None:
    assert starts([ran(batch=8)], ran(changed), SPACE, suggestions=2) == ([], [{"batch": 8}])
    assert starts([ran(batch=8)], ran(changed), SPACE, suggestions=0) == ([], [])


def test_what_was_not_proven_or_was_another_job_is_left_out() -> None:
    other_engine = replace(ran(batch=8), engine="tesseract")
    other_aim = replace(ran(batch=8), objective="latency")
    nothing = replace(ran(batch=8), best=None)
    studies = [ran(proven=False, batch=8), other_engine, other_aim, nothing]
    assert starts(studies, ran(), SPACE, suggestions=2) == ([], [])
    assert starts([replace(ran(batch=8), device="cpu")], ran(), SPACE, suggestions=2) == ([], [{"batch": 8}])


def test_only_settings_that_mean_something_here_are_taken_over() -> None:
    own, _ = starts([ran(batch=8, sample="of-other-pages", gone=True)], ran(), SPACE, suggestions=0)
    assert own == [{"batch": 8}]
    own, _ = starts([ran(batch=16, sample="")], ran(), SPACE, suggestions=0)
    assert own == [{"sample": ""}]


def test_runs_are_read_newest_first_without_this_one_and_without_damaged_ones(tmp_path: Path) -> None:
    for age, name in enumerate(["new", "old", "damaged", "own"]):
        folder = RunFolder.create(tmp_path / name)
        folder.save_study(replace(ran(batch=8), id=name))
        os.utime(folder.root, (1e9 - age, 1e9 - age))
    (tmp_path / "damaged" / "study.json").write_text("{}")
    (tmp_path / "no run").mkdir()
    assert [found.id for found in earlier_runs(tmp_path, tmp_path / "own")] == ["new", "old"]
    assert earlier_runs(tmp_path / "absent", tmp_path) == []


def test_sets_of_cores_of_one_size_are_one_kind_of_device() -> None:
    before, now = (replace(ran(batch=8), device=device) for device in ("cpu:0-3", "cpu:4-7,cpu:8-11"))
    assert starts([before], now, SPACE, suggestions=2) == ([{"batch": 8}], [])
    gpu = replace(now, device="cuda:1,cuda:0")
    assert starts([before], gpu, SPACE, suggestions=2) == ([], [{"batch": 8}])
