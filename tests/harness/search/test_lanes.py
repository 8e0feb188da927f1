"""Several devices: cores stand in for them."""

import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from harness.devices import Device
from harness.experiments import Experiment
from harness.machine import Caution
from harness.measure import Bench
from harness.search.disturbance import undisturbed
from harness.search.tuner import Task
from harness.store import RunFolder
from harness.values import Study
from tests.harness.search.test_tuner import FAST, MACHINE, task, tuner

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
DEVICES = tuple(Device("cpu", f"cpu:{core}", (core,)) for core in CORES[:2])
SAME = tuple(Device("cpu", f"cpu:{CORES[0]}/{i}", (CORES[0],)) for i in range(2)) if CORES else ()

pytestmark = pytest.mark.skipif(
    len(DEVICES) < 2, reason="this machine has not two cores to confine processes to"
)


def overlap(study: Study) -> bool:
    times = sorted((t.started_s, t.started_s + t.wall_s) for t in study.trials if t.phase == "search")
    return any(begins < ends for (_, ends), (begins, _) in pairwise(times))


def bench_of(work: Task, folder: Path) -> Bench:
    return Bench(work.pages, work.header.references, folder / "devices", MACHINE)


def test_devices_that_wait_for_nothing_of_each_other_do_not_disturb(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    variant = work.space.variant({"page_ms": 80})
    assert undisturbed(DEVICES, bench_of(work, tmp_path), variant, [[0], [1]], deadline_s=60)


def test_devices_that_share_a_core_disturb(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    variant = work.space.variant({"page_ms": 80, "fault": "spins"})
    assert not undisturbed(SAME, bench_of(work, tmp_path), variant, [[0], [1]], deadline_s=60)


def test_a_device_that_fails_is_not_measured_on(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    variant = work.space.variant({"fault": "segfault"})
    assert not undisturbed(DEVICES, bench_of(work, tmp_path), variant, [[0], [1]], deadline_s=60)


def test_trials_run_side_by_side_on_devices_that_do_not_disturb_each_other(
    scripted: str, tmp_path: Path
) -> None:
    study = tuner(tmp_path, replace(task(tmp_path, FAST, budget_s=90.0), devices=DEVICES)).run()
    searched = [trial for trial in study.trials if trial.phase == "search"]
    assert {trial.device for trial in searched} == {device.label for device in DEVICES}
    assert overlap(study)
    assert len({trial.number for trial in study.trials}) == len(study.trials)
    assert len({trial.variant.id for trial in searched}) == len(searched)
    assert study.best is not None
    assert study.best.device == "cpu"
    assert study.comparisons
    assert RunFolder(tmp_path / "run").study().trials == tuple(
        sorted(study.trials, key=lambda trial: trial.number)
    )


def test_trials_run_one_by_one_on_devices_that_disturb_each_other(scripted: str, tmp_path: Path) -> None:
    work = replace(task(tmp_path, FAST, budget_s=30.0), devices=SAME)
    knobs = [replace(knob, default="spins") if knob.name == "fault" else knob for knob in work.space.knobs]
    study = tuner(tmp_path, replace(work, space=replace(work.space, knobs=tuple(knobs)))).run()
    assert Caution.SHARED_DEVICES.sentence in study.cautions
    assert {trial.device for trial in study.trials if trial.phase == "search"} == {SAME[0].label}
    assert not overlap(study)


def test_an_interrupt_ends_all_that_runs_side_by_side(scripted: str, tmp_path: Path) -> None:
    """One trial hangs on the second device when the third is to begin."""
    hanging = Experiment(search=FAST.search, start=[{"fault": "hang"}, {"page_ms": 10}])
    work = replace(task(tmp_path, hanging, budget_s=60.0), devices=DEVICES)
    study = tuner(tmp_path, work, interrupt_at=3).run()
    assert Caution.INTERRUPTED.sentence in study.cautions
    assert study.spent_s < 30
    assert [trial.number for trial in study.trials if trial.variant.settings["fault"] == "hang"] == []
    assert not psutil.Process().children()
