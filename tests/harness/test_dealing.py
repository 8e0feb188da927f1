"""Dealing a block, with replicas that are made up and a clock that is told."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.dealing import Dealing


class Replica:
    """Reads what it is dealt in calls of `call` pages, each in `seconds[page]` times `pace`."""

    def __init__(self, seconds: Sequence[float], call: int, pace: float = 1.0) -> None:
        self.window = call
        self.dealt: list[int] = []
        self.ends: list[dict[str, Any]] = []
        self.now_s = 0.0
        self._seconds, self._call, self._pace = seconds, call, pace

    def send(self, message: dict[str, Any]) -> None:
        assert not self.ends, "nothing is to come after the end"
        if "deal" in message:
            self.dealt += message["deal"]
        else:
            self.ends.append(message)

    @property
    def holds_a_call(self) -> bool:
        return len(self.dealt) >= self._call or bool(self.dealt and self.ends)

    @property
    def call_s(self) -> float:
        return self._pace * sum(self._seconds[page] for page in self.dealt[: self._call])

    def read(self) -> list[int]:
        self.now_s += self.call_s
        pages, self.dealt = self.dealt[: self._call], self.dealt[self._call :]
        return pages


def play(
    seconds: Sequence[float], paces: Sequence[float], *, call: int, refill: bool
) -> tuple[float, float, list[Replica]]:
    """Wall time and spare time of a block, and its replicas."""
    replicas = [Replica(seconds, call, pace) for pace in paces]
    queue = deque(range(len(seconds)))
    dealing = Dealing(replicas, [queue] * len(replicas), call=call, refill=refill)
    first: list[int] = []
    wall_s = 0.0
    while not dealing.over:
        replica = min((r for r in replicas if r.holds_a_call), key=lambda r: r.now_s + r.call_s)
        for page in replica.read():
            if dealing.answered(replica, page, replica.now_s):
                first.append(page)
                wall_s = max(wall_s, replica.now_s)
    assert sorted(first) == list(range(len(seconds)))
    assert all(len(replica.ends) == 1 for replica in replicas)
    return wall_s, dealing.spare_s(wall_s), replicas


BLOCK = st.lists(st.floats(0.1, 2.0), min_size=4, max_size=24)


@given(BLOCK)
def test_a_block_costs_what_its_pages_cost_in_whatever_order(seconds: list[float]) -> None:
    wall_s, spare_s, _ = play(seconds, (1.0, 1.0), call=1, refill=True)
    assert wall_s - spare_s == pytest.approx(sum(seconds) / 2)


@given(BLOCK, st.integers(1, 4), st.integers(1, 3))
def test_every_page_is_read_and_every_replica_ended(seconds: list[float], call: int, replicas: int) -> None:
    for refill in (False, True):
        wall_s, spare_s, _ = play(seconds, [1.0] * replicas, call=call, refill=refill)
        assert -1e-9 < spare_s < (wall_s if refill else 1e-9)


def test_of_a_call_with_pages_that_are_read_again_only_the_share_of_its_own_counts() -> None:
    wall_s, spare_s, _ = play([1.0] * 6, (1.0, 1.0), call=2, refill=True)
    assert wall_s == 4.0
    assert wall_s - spare_s == pytest.approx(3.0)


def test_nobody_pauses_while_another_reads() -> None:
    """One replica is eight times as fast: it reads its pages again until the other is through with its own."""
    wall_s, _, (slow, fast) = play([1.0] * 12, (8.0, 1.0), call=1, refill=True)
    assert slow.now_s == wall_s
    assert fast.now_s >= wall_s - 1.0
    _, _, (slow, fast) = play([1.0] * 12, (8.0, 1.0), call=1, refill=False)
    assert fast.now_s < slow.now_s - 1.0


def test_a_replica_that_gets_no_page_counts_as_busy_for_nothing_tells_how_fast_it_would_be() -> None:
    wall_s, spare_s, (one, two) = play([1.0], (1.0, 1.0), call=1, refill=True)
    assert (wall_s, spare_s) == (1.0, 0.0)
    assert (one.now_s, two.now_s) == (1.0, 0.0)
