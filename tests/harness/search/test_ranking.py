"""The order of the steps away from an incumbent, on a space that is small enough to know by heart."""

import math
from dataclasses import replace

import numpy as np
import pytest

from engines.interface import Choice, Knob, Ordered, Setting
from harness.search import ranking
from harness.search.noise import UNKNOWN
from harness.search.ranking import Told, repeats, stage_shares, steps
from harness.values import Block, Failure, FailureKind, Measurement, PageRecord

BATCH = Knob("batch", "recognise", Ordered((1, 2, 4, 8, 16)), 4, "lines a call")
RUNTIME = Knob("runtime", "recognise", Choice(("plain", "fast", "graph")), "plain", "runtime")
SIDE = Knob("side", "detect", Ordered((640, 960, 1280)), 1280, "pixels", changes_text=True)
STREAMS = Knob("streams", "recognise", Ordered((1, 2)), 1, "streams", when={"runtime": ("fast",)})
KNOBS = (BATCH, RUNTIME, SIDE, STREAMS)
HERE: dict[str, Setting] = {"batch": 4, "runtime": "plain", "side": 1280}
AS_SHIPPED = Told(HERE, 0.0, cer_excess=-0.002)


def told(gain: float | None, *, cer_excess: float | None = None, **changes: Setting) -> Told:
    return Told({**HERE, **changes}, gain, failed=gain is None, cer_excess=cer_excess)


def gains(found: list[ranking.Step]) -> dict[tuple[str, Setting], float]:
    """Of the changes of one knob."""
    return {
        (knob, value): step.gain
        for step in found
        if len(step.changes) == 1
        for knob, value in step.changes.items()
    }


def test_every_change_of_one_acting_knob_is_listed_once() -> None:
    found = steps(KNOBS, HERE, [AS_SHIPPED], {})
    expected: set[tuple[str, Setting]] = {("batch", value) for value in (1, 2, 8, 16)}
    expected |= {("runtime", "fast"), ("runtime", "graph"), ("side", 640), ("side", 960)}
    assert gains(found).keys() == expected
    assert sum(len(step.changes) == 1 for step in found) == len(expected)
    assert [step.gain for step in found] == sorted((step.gain for step in found), reverse=True)


@pytest.mark.parametrize(("stage", "first"), [("detect", "side"), ("recognise", "runtime")])
def test_the_stage_that_takes_the_time_is_tried_first(stage: str, first: str) -> None:
    other = {"detect": "recognise", "recognise": "detect"}[stage]
    found = steps((RUNTIME, SIDE), HERE, [AS_SHIPPED], {stage: 0.9, other: 0.1})
    assert first in found[0].changes
    assert max(gains(found), key=lambda single: gains(found)[single])[0] == first


def test_a_direction_that_helped_is_gone_on_with_and_one_that_hurt_is_not() -> None:
    faster = told(0.3, batch=8)
    found = gains(steps(KNOBS, faster.settings, [AS_SHIPPED, faster], {}))
    assert found["batch", 16] > found["batch", 2]
    slower = told(-0.3, batch=8)
    found = gains(steps(KNOBS, HERE, [AS_SHIPPED, slower], {}))
    assert found["batch", 2] > found["batch", 16]


def test_an_effect_that_was_seen_elsewhere_is_expected_here() -> None:
    known = [AS_SHIPPED, told(0.5, side=640), told(0.8, side=640, runtime="fast")]
    found = gains(steps(KNOBS, HERE, [*known, told(-0.5, runtime="graph", side=960)], {}))
    assert found["runtime", "fast"] > found["runtime", "graph"]


def test_what_was_slower_promises_less_than_the_untried() -> None:
    found = gains(steps(KNOBS, HERE, [AS_SHIPPED, told(-0.2, runtime="graph")], {}))
    assert found["runtime", "graph"] < 0.005 < found["runtime", "fast"]


def test_a_size_that_broke_warns_of_the_larger_ones_and_not_of_the_smaller() -> None:
    broke = told(None, batch=8)
    found = gains(steps(KNOBS, HERE, [AS_SHIPPED, broke], {}))
    before = gains(steps(KNOBS, HERE, [AS_SHIPPED], {}))
    assert found["batch", 16] < 0.5 * before["batch", 16]
    assert found["batch", 2] == pytest.approx(before["batch", 2])


def test_blame_is_shared_by_all_that_sets_a_trial_apart() -> None:
    alone = gains(steps(KNOBS, HERE, [AS_SHIPPED, told(None, runtime="fast")], {}))
    shared = gains(steps(KNOBS, HERE, [AS_SHIPPED, told(None, runtime="fast", side=640)], {}))
    assert alone["runtime", "fast"] < shared["runtime", "fast"]


def test_what_took_too_long_is_put_down_to_what_has_worked_nowhere() -> None:
    before = gains(steps(KNOBS, HERE, [AS_SHIPPED], {}))
    late = replace(told(None, runtime="fast", side=640), too_late=True)
    both = gains(steps(KNOBS, HERE, [AS_SHIPPED, late], {}))
    assert both["runtime", "fast"] == pytest.approx(before["runtime", "fast"] / 50.5)
    cleared = gains(steps(KNOBS, HERE, [AS_SHIPPED, told(0.0, side=640), late], {}))
    assert cleared["runtime", "fast"] == pytest.approx(before["runtime", "fast"] / 100, rel=0.1)


MODEL = Knob("model", "recognise", Choice(("large", "small")), "large", "weights", changes_text=True)


def test_what_reads_far_worse_is_not_tried_again_beside_something_else() -> None:
    here: dict[str, Setting] = {**HERE, "model": "large"}
    known = [
        Told(here, 0.0, cer_excess=-0.002),
        Told({**here, "model": "small", "batch": 8}, 0.7, cer_excess=0.016),
        Told({**here, "side": 960}, 0.1, cer_excess=-0.001),
    ]
    unaware = [replace(trial, cer_excess=None) for trial in known]
    knobs = (*KNOBS, MODEL)
    found, before = (gains(steps(knobs, known[2].settings, t, {})) for t in (known, unaware))
    assert found["model", "small"] < 0.1 * before["model", "small"]
    narrowly = [*known[:1], replace(known[1], cer_excess=0.0005), *known[2:]]
    assert (
        gains(steps(knobs, known[2].settings, narrowly, {}))["model", "small"] > 3 * found["model", "small"]
    )
    # What cannot change the text reads as the incumbent does.
    assert found["runtime", "fast"] == pytest.approx(before["runtime", "fast"])


def test_few_pages_say_less_of_how_a_value_reads() -> None:
    here: dict[str, Setting] = {**HERE, "model": "large"}
    bad = Told({**here, "model": "small"}, 0.7, cer_excess=0.016)

    def worth(trial: Told) -> float:
        found = gains(steps((*KNOBS, MODEL), here, [Told(here, 0.0, cer_excess=-0.002), trial], {}))
        return found["model", "small"]

    assert worth(replace(bad, share_read=0.1)) > worth(bad)


def test_two_effects_that_add_up_are_tried_together_and_never_two_values_of_one_knob() -> None:
    known = [AS_SHIPPED, told(0.3, batch=8), told(0.4, runtime="fast")]
    found = steps(KNOBS, HERE, known, {})
    assert found[0].changes.items() >= {"runtime": "fast"}.items()
    assert len(found[0].changes) == 2
    pairs = [step.changes for step in found if len(step.changes) == 2]
    shared = set.intersection(*({*pair.items()} for pair in pairs))
    assert shared == {("runtime", "fast")}


def test_a_pair_of_which_one_broke_promises_less_than_the_other_alone() -> None:
    known = [AS_SHIPPED, told(0.6, runtime="fast"), told(None, batch=8)]
    found = steps((BATCH, RUNTIME), HERE, known, {})
    pair = next(s for s in found if s.changes == {"runtime": "fast", "batch": 8})
    alone = next(s for s in found if s.changes == {"runtime": "fast"})
    assert pair.gain < alone.gain


def test_the_expected_improvement_is_the_mean_of_what_is_gained() -> None:
    draws = np.random.default_rng(0).normal(-0.1, 0.2, 400_000)
    assert ranking._expected(-0.1, 0.2) == pytest.approx(np.maximum(draws, 0).mean(), rel=0.02)


def test_the_luck_of_one_trial_is_told_by_its_relatives() -> None:
    lucky = told(0.33, runtime="graph")
    trials = [
        *(
            AS_SHIPPED,
            lucky,
            told(0.30, runtime="fast"),
            told(0.31, runtime="fast", batch=8),
            told(None),
        ),
        *(told(0.10, runtime="graph", batch=8), told(0.12, runtime="graph", side=960)),
    ]
    _, graph, fast, *_, failed, _, _ = ranking.believed(KNOBS, trials, {})
    assert graph is not None
    assert fast is not None
    assert graph < fast
    assert failed is None
    often = [replace(trial, trials=50) if trial is lucky else trial for trial in trials]
    assert ranking.believed(KNOBS, often, {})[1] == pytest.approx(0.33, abs=0.02)


def test_the_fit_is_that_of_a_gaussian_process() -> None:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF

    x = np.linspace(0, 1, 5)[:, None]
    seen = np.array([0.3, -0.1, 0.2])
    reference = GaussianProcessRegressor(RBF(0.4, "fixed"), alpha=UNKNOWN.sd**2, optimizer=None)
    reference.fit(x[:3], seen - seen.mean())
    mean, covariance = reference.predict(x[3:], return_cov=True)
    own = ranking._Seen(seen, np.full(len(seen), UNKNOWN.sd**2), float(seen.mean()))
    own_mean, own_covariance = ranking._posterior(RBF(0.4)(x), own)
    assert own_mean == pytest.approx(mean + seen.mean())
    assert own_covariance == pytest.approx(covariance)
    constant = -0.5 * len(seen) * math.log(2 * math.pi)
    own_likelihood = ranking._log_likelihood(RBF(0.4)(x), own) + constant
    assert own_likelihood == pytest.approx(reference.log_marginal_likelihood_value_)


def test_what_is_the_fastest_with_one_value_and_the_slowest_with_another_is_not_averaged() -> None:
    """A sum of effects would choose the variant that both of its neighbours are faster than."""
    trials = [
        *(AS_SHIPPED, told(0.42, runtime="fast"), told(-0.07, runtime="fast", side=960)),
        *(told(0.30, runtime="graph"), told(0.35, runtime="graph", side=960), told(0.36, side=960)),
        *(told(-0.15, runtime="fast", side=960, batch=8), told(-0.2, runtime="fast", side=960, batch=4)),
    ]
    found = ranking.believed(KNOBS, trials, {})
    known = {place: mean for place, mean in enumerate(found) if mean is not None}
    assert max(known, key=lambda place: known[place]) == 1


def test_a_repeat_is_worth_what_it_adds_to_the_speed_of_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against trials that are drawn and learnt one by one, which change no mind about the interactions."""
    monkeypatch.setattr(ranking, "_FACTORS", (1.0,))
    known = [AS_SHIPPED, told(0.30, runtime="fast"), told(0.27, runtime="graph"), told(0.1, side=960)]
    rivals = [trial.settings for trial in known[1:3]]

    def expected(trials: list[Told]) -> tuple[np.ndarray, np.ndarray]:
        return ranking._belief(KNOBS, rivals, trials, {}, UNKNOWN.sd)

    mean, covariance = expected(known)
    spread = math.sqrt(float(covariance[0, 0]) + UNKNOWN.sd**2)
    draws = np.random.default_rng(0).normal(float(mean[0]), spread, 20_000)
    after = [float(expected([*known, Told(rivals[0], float(value))])[0].max()) for value in draws]
    assert repeats(KNOBS, rivals, known, {})[0] == pytest.approx(np.mean(after) - float(mean.max()), rel=0.1)


def test_a_repeat_is_worth_most_between_equals_and_less_each_time() -> None:
    best, near, far = told(0.30, runtime="fast"), told(0.28, runtime="graph"), told(-0.4, side=960)
    worth = repeats(KNOBS, [t.settings for t in (best, near, far)], [AS_SHIPPED, best, near, far], {})
    assert min(worth[:2]) > 100 * worth[2]
    often = [Told(t.settings, t.log_speedup, trials=9) for t in (best, near)]
    assert max(repeats(KNOBS, [t.settings for t in often], [AS_SHIPPED, *often], {})) < 0.2 * min(worth[:2])


def test_stage_shares_add_up_and_a_failure_has_none() -> None:
    pages = tuple(PageRecord(f"p{i}", (), 1.0, {"detect": 0.2, "recognise": 0.6}) for i in range(3))
    shares = stage_shares(Measurement(1.0, (Block(pages, 3.0),)))
    assert shares == pytest.approx({"detect": 0.25, "recognise": 0.75})
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert stage_shares(Failure(FailureKind.CRASH, "open", "died")) == {}


def test_a_number_off_the_grid_is_not_taken_for_the_edge_of_it() -> None:
    """Shipped defaults may lie outside of what is searched."""
    outside = Told({**HERE, "batch": 64}, 0.0)
    found = gains(steps(KNOBS, outside.settings, [outside], {}))
    assert found["batch", 16] > 0.005
    below = Knob("batch", "recognise", Ordered((2, 4), low=1, high=64), 1, "lines a call")
    started = Told({**HERE, "batch": 1}, 0.0)
    assert gains(steps((below,), started.settings, [started], {}))["batch", 2] > 0.005
