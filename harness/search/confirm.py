"""The proof: finalists beside the baseline, in interleaved rounds of fresh processes, on pages kept for it."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from harness import stats
from harness.bounds import harmed_sets, keeps_bounds
from harness.comparing import comparison
from harness.measure import Bench, Limits, SideFailedError
from harness.search import plan
from harness.search.lab import Lab
from harness.values import Comparison, Constraints, Failure, FailureKind, Measurement, Round, Variant

_A = TypeVar("_A")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """What the rounds of a confirmation gave, so far or in the end."""

    sides: tuple[Variant, ...]
    """The baseline and the finalists that held to the end."""
    rounds: tuple[Round, ...] = ()
    failed: tuple[tuple[Variant, Failure], ...] = ()
    stopped: bool = False
    """Whether an interrupt ended it."""

    @property
    def measured(self) -> tuple[Measurement, ...]:
        """All that the rounds measured, side by side."""
        return tuple(_together(self.rounds, side) for side in range(len(self.sides)))

    def comparisons(self, bench: Bench) -> tuple[Comparison, ...]:
        """Every finalist against the baseline.

        The winner is chosen by these intervals of the speed-up, so all of them hold at once with 95 % (Bonferroni).
        """
        alpha = stats.ALPHA / max(1, len(self.sides) - 1)
        return tuple(
            comparison(
                bench, self.sides[0], self.sides[side], self.rounds, side, sequential=False, alpha=alpha
            )
            for side in range(1, len(self.sides))
        )


def side_by_side(
    lab: Lab,
    bench: Bench,
    so_far: SideBySide,
    pages: Sequence[int],
    scheme: plan.ConfirmPlan,
    limits: Limits,
    *,
    left_s: Callable[[], float],
    begins: Callable[[int, int], None],
    keep: Callable[[SideBySide], None],
) -> SideBySide:
    """Read `pages` with the baseline, which comes first, and the finalists, as the plan and the clock allow.

    Where rounds took less than planned, more follow: a fourth narrows the interval of three by half.
    It goes on from `so_far`, and `keep` is given what there is after every round. `limits` bound the starts and pages
    of all sides, `left_s` gives the seconds that are left, after which a round is broken off, and `begins` hears the
    number of each round and of all of them. A finalist that fails is out, with its part of the rounds before. Where
    it is the baseline that fails, or any side for want of memory, the last finalist makes room: what the others take,
    it may lack.
    """
    sides, rounds, failed = list(so_far.sides), list(so_far.rounds), list(so_far.failed)
    read = sum(result.pages for result in rounds)
    number = len(rounds) + len(failed)
    round_s = rounds[-1].took_s if rounds else 0.0
    stopped = False
    count = min(scheme.pages_per_round, len(pages))
    try:
        while len(sides) > 1 and (len(rounds) < plan.MAX_CONFIRM_ROUNDS or read < len(pages)):
            remaining_s = left_s()
            # Rounds and their pages follow the clock, never the results: the interval stays honest.
            missing = max(0, plan.MIN_CONFIRM_ROUNDS - len(rounds))
            if rounds and missing:
                cold_s = sum(rounds[-1].cold_start_s)
                page_s = (round_s - cold_s) / rounds[-1].pages
                count = plan.pages_that_fit(remaining_s / missing, cold_s, page_s, count)
            if count == 0 or remaining_s <= 0 or (not missing and remaining_s < plan.HEADROOM * round_s):
                break
            hand = [pages[(read + i) % len(pages)] for i in range(count)]
            begins(len(rounds) + 1, max(scheme.rounds, len(rounds) + 1))
            try:
                in_time = replace(limits, trial_s=plan.OVERTIME * remaining_s)
                rounds.append(lab.interleaved_round(bench, sides, hand, number, in_time))
                read, round_s = read + count, remaining_s - left_s()
            except SideFailedError as error:
                if error.failure.kind is FailureKind.TIMEOUT and left_s() <= 0:
                    break
                last = len(sides) - 1
                out = last if error.failure.kind is FailureKind.OOM else error.side or last
                if error.side in (0, out):
                    failed.append((sides[error.side], error.failure))
                if error.side == 0 and last == 1:
                    break
                sides, rounds = sides[:out] + sides[out + 1 :], [_without(result, out) for result in rounds]
                round_s = rounds[-1].took_s if rounds else 0.0
            number += 1
            keep(SideBySide(tuple(sides), tuple(rounds), tuple(failed)))
    except KeyboardInterrupt:
        stopped = True
    return SideBySide(tuple(sides), tuple(rounds), tuple(failed), stopped)


def winner(
    read: SideBySide,
    comparisons: Sequence[Comparison],
    constraints: Constraints,
    standing: Comparison | None = None,
    *,
    must_be_faster: bool = True,
) -> Variant | None:
    """The variant to publish, of the finalists that met the bounds on latency and memory in the rounds too.

    `standing` is what was proven before the run was taken up again: it stands until something better is proven, or
    until it fails itself. Rounds are measured without counters, so that a GPU's memory is that of the search alone.
    """
    within = [
        found
        for side, (found, measurement) in enumerate(zip(comparisons, read.measured[1:], strict=True), start=1)
        if keeps_bounds(measurement, constraints)
        and not _exceeds(read.rounds, side, constraints.max_memory_mib)
    ]
    read_again = [*read.sides, *(variant for variant, _ in read.failed)]
    if standing and standing.b not in read_again:
        within.append(standing)
    return best_of(within, constraints.max_cer_increase, must_be_faster=must_be_faster)


def _exceeds(rounds: Sequence[Round], side: int, max_memory_mib: float | None) -> bool:
    if max_memory_mib is None:
        return False
    peaks = [result.peak_rss_mib[side] for result in rounds]
    return any(peak is not None and peak > max_memory_mib for peak in peaks)


def best_of(
    comparisons: Sequence[Comparison], max_cer_increase: float, *, must_be_faster: bool = True
) -> Variant | None:
    """The fastest variant of those that are surely accurate enough and, if they must be, faster than the baseline.

    Surely: the lower bound of its speed-up is above 1, the upper bound of its CER increase on the confirmation pages
    is at most `max_cer_increase`, and no data set is harmed. Fastest by the estimate: all have been in the same
    rounds, so that by their pooled deviation the greatest estimate has the greatest lower bound too. The deviation of
    one finalist over three rounds is a matter of luck, and would choose instead of the speed.
    """
    proven = [
        c
        for c in comparisons
        if c.failure is None
        and (c.speedup.low > 1 or not must_be_faster)
        and (math.isnan(c.cer_increase.high) or c.cer_increase.high <= max_cer_increase)
        and not harmed_sets(c.cer_increase_by_set, max_cer_increase)
    ]
    return max(proven, key=lambda c: c.speedup.value).b if proven else None


def _without(result: Round, side: int) -> Round:
    """The round as if that side, not the first, had not been in it."""

    def kept(values: tuple[_A, ...]) -> tuple[_A, ...]:
        return values[:side] + values[side + 1 :]

    ratios = result.log_ratios[: side - 1] + result.log_ratios[side:]
    return Round(kept(result.blocks), kept(result.cold_start_s), ratios, kept(result.peak_rss_mib))


def _together(rounds: Sequence[Round], side: int) -> Measurement:
    """All that the rounds measured of one side."""
    cold_start_s = statistics.median(result.cold_start_s[side] for result in rounds)
    return Measurement(cold_start_s, tuple(block for result in rounds for block in result.blocks[side]))
