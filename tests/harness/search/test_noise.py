import math
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.measure import Bench
from harness.objectives import THROUGHPUT
from harness.search import noise
from harness.search.lab import ThisMachine
from harness.search.noise import Noise, reckoned_sd
from harness.search.race import Race
from harness.values import Block, PageRecord
from tests.harness.search.test_tuner import FAST, MACHINE, task


def now(sd: float = 0.03, trials: int = 5, age_s: float = 0.0) -> Noise:
    return Noise(sd, trials, time.time() - age_s)


def test_what_was_measured_is_known_for_a_week() -> None:
    noise.keep("here", found := now())
    assert noise.known("here") == found
    assert noise.known("elsewhere") is None
    noise.keep("here", now(age_s=8 * 24 * 3600))
    assert noise.known("here") is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1]",
        '{"sd": 0.1, "trials": 5, "measured_at"',
        f'{{"sd": NaN, "trials": 5, "measured_at": {time.time()}}}',
        f'{{"sd": 0.1, "trials": 1, "measured_at": {time.time()}}}',
        f'{{"sd": 0.1, "trials": 5, "measured_at": {time.time() + 1e6}}}',
        " " * 5000,
    ],
)
def test_what_is_not_sound_is_not_known(cache: Path, text: str) -> None:
    (cache / "noise").mkdir(parents=True)
    (cache / "noise" / "here.json").write_text(text, encoding="utf-8")
    assert noise.known("here") is None


def test_a_cache_that_cannot_be_written_ends_nothing(cache: Path) -> None:
    cache.write_text("a file where a folder should be", encoding="utf-8")
    noise.keep("here", now())
    assert noise.known("here") is None


def test_a_few_trials_are_measured_where_the_budget_has_room(scripted: str, tmp_path: Path) -> None:
    work = task(tmp_path, FAST)
    bench = Bench(work.pages, work.header.references, tmp_path / "noise", MACHINE)
    variant, lab = work.space.variant({"page_ms": 20}), ThisMachine()
    assert lab.noise(bench, variant, [0, 1], key="here", trial_s=1.0, budget_s=3.9) is None
    found = lab.noise(bench, variant, [0, 1], key="here", trial_s=0.1, budget_s=60.0)
    assert found is not None
    assert (found.trials, 0 < found.sd < 1) == (8, True)
    assert lab.noise(bench, variant, [0, 1], key="here", trial_s=1.0, budget_s=0.0) == found
    failing = work.space.variant({"fault": "segfault"})
    assert lab.noise(bench, failing, [0, 1], key="other", trial_s=0.1, budget_s=60.0) is None


@pytest.mark.parametrize(("sd", "limit_pct"), [(0.001, 4), (0.05, 10), (10.0, 30)])
def test_a_noisier_machine_gives_trials_up_later(sd: float, limit_pct: float) -> None:
    """After the second block, at two deviations of the log, the noise taken as at least 2 % and at most 15 %."""
    race = Race(THROUGHPUT, {"p": 1.0}, 1.0, sure=True, sd=reckoned_sd(Noise(sd, 8, 0.0)))

    def lost(ratio: float, blocks: int) -> bool:
        return race.lost([Block((PageRecord("p", (), ratio, {}),), ratio)] * blocks) is not None

    limit = math.exp(limit_pct / 100)
    assert not lost(0.99 * limit, 2)
    assert lost(1.01 * limit, 2)
    assert not lost(0.99 * limit**2, 1)
    assert lost(1.01 * limit**2, 1)


@pytest.mark.parametrize(("seconds", "dropped"), [(0.99, False), (1.01, True)])
def test_without_a_sure_incumbent_a_trial_must_look_faster_than_the_baseline(
    seconds: float, dropped: bool
) -> None:
    race = Race(THROUGHPUT, {"p": 1.0}, 1.0, sure=False, sd=0.05)
    block = Block((PageRecord("p", (), seconds, {}),), seconds)
    assert (race.lost([block]) is not None) == dropped
    # What meets a bound that the baseline misses is better at any speed.
    assert replace(race, must_be_faster=False).lost([block]) is None
