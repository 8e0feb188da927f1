import random

import pytest

from engines.interface import Settings
from harness.importance import MIN_TRIALS, importance


def trials(count: int, seed: int = 0) -> list[tuple[Settings, float]]:
    """Throughput depends on `model`, a little on `batch`, and on nothing else."""
    draw = random.Random(seed)
    made: list[tuple[Settings, float]] = []
    for _ in range(count):
        model, batch = draw.choice(("small", "large")), draw.choice((1, 8))
        settings: Settings = {"model": model, "batch": batch, "idle": draw.choice((True, False)), "fixed": 1}
        speed = {"small": 4.0, "large": 1.0}[model] * {1: 1.0, 8: 1.1}[batch] * draw.uniform(0.99, 1.01)
        made.append((settings, speed))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_the_setting_that_decides_comes_first_and_an_idle_one_last(seed: int) -> None:
    found = importance(trials(200, seed))
    assert list(found)[-1] == "idle"
    assert found["idle"] < found["model"] / 2
    assert sum(found.values()) == pytest.approx(1)
    assert "fixed" not in found


def test_a_setting_that_acts_with_another_only_does_not_disturb_it() -> None:
    draw = random.Random(1)
    with_cache = [
        ({**settings, **({"cache": draw.choice((1, 2))} if settings["model"] == "large" else {})}, speed)
        for settings, speed in trials(200)
    ]
    found = importance(with_cache)
    assert found["model"] > found["cache"]


def test_too_few_or_equal_trials_have_no_importance() -> None:
    assert importance(trials(MIN_TRIALS - 1)) == {}
    assert importance([({"model": "small"}, 1.0)] * 50) == {}
    assert importance([]) == {}
