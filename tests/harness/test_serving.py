"""Dealing pages as they arrive, with replicas that are made up and a clock that is told."""

from typing import Any

import pytest

from harness.serving import Serving
from harness.values import PageRecord


class Replica:
    def __init__(self, window: int = 1) -> None:
        self.window = window
        self.dealt: list[list[int]] = []

    def send(self, message: dict[str, Any]) -> None:
        if "deal" in message:
            self.dealt.append(message["deal"])


def read(page: int, seconds: float) -> PageRecord:
    return PageRecord(str(page), (), seconds, {})


def finish(serving: Serving, replica: Replica, page: int, seconds: float, now_s: float) -> float:
    latency_s = serving.answered(replica, page, read(page, seconds), now_s)
    serving.free(replica)
    return latency_s


def test_a_stall_is_charged_to_every_page_that_arrived_during_it() -> None:
    """Ten pages a second, 10 ms each, and one stall of a second: the worker itself would report ten short times."""
    replica = Replica()
    arrivals_s = [i / 10 for i in range(10)]
    serving = Serving([replica], range(10), arrivals_s)
    now_s, latencies_s = 0.0, []
    for page in range(10):
        now_s = max(now_s, arrivals_s[page])
        serving.deal(now_s)
        service_s = 1.0 if page == 0 else 0.01
        now_s += service_s
        latencies_s.append(finish(serving, replica, page, service_s, now_s))
    assert latencies_s == pytest.approx([1.0 + 0.01 * page - page / 10 for page in range(10)])
    assert [record.seconds for _, record in serving.records] == pytest.approx(latencies_s)
    assert serving.deal(now_s) is None


def test_a_page_is_not_dealt_before_it_arrives() -> None:
    replica = Replica(window=8)
    serving = Serving([replica], [4, 5], [0.5, 2.0])
    assert serving.deal(0.4) == 0.5
    assert replica.dealt == []
    assert serving.deal(0.6) == 2.0
    assert replica.dealt == [[4]]


def test_idle_replicas_share_what_waits_and_none_takes_more_than_its_window() -> None:
    one, two = Replica(window=3), Replica(window=3)
    serving = Serving([one, two], range(10), [0.0] * 10)
    serving.deal(0.0)
    assert (one.dealt, two.dealt) == ([[0, 1, 2]], [[3, 4, 5]])
    lone, other = Replica(window=8), Replica(window=8)
    Serving([lone, other], range(4), [0.0] * 4).deal(0.0)
    assert (lone.dealt, other.dealt) == ([[0, 1]], [[2, 3]])


def test_a_page_that_is_asked_for_twice_has_two_records() -> None:
    replica = Replica(window=2)
    serving = Serving([replica], [7, 7], [0.0, 0.25])
    serving.deal(0.3)
    assert serving.answered(replica, 7, read(7, 0.1), 1.0) == 1.0
    assert serving.answered(replica, 7, read(7, 0.1), 1.5) == 1.25
    assert [page for page, _ in serving.records] == [7, 7]


def test_it_ends_early_once_what_was_taken_up_is_done() -> None:
    replica = Replica()
    serving = Serving([replica], range(5), [0.0, 0.0, 0.0, 9.0, 9.0])
    serving.deal(0.0)
    serving.stop()
    assert serving.deal(0.1) == float("inf")
    finish(serving, replica, 0, 0.1, 0.2)
    assert serving.deal(0.2) is None
    assert [page for page, _ in serving.records] == [0]
