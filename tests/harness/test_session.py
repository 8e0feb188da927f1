"""The process boundary, with an engine that fails as it is told."""

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.interface import Machine, Setting, Settings
from harness.machine import detect
from harness.measure import Bench
from harness.objectives import ENERGY, THROUGHPUT, Objective
from harness.session import Session, TrialFailedError, core_shares
from harness.space import Space
from harness.values import Failure, FailureKind
from tests.pages import page_set

MACHINE = detect()


def opened(folder: Path, settings: Settings, *, count: int = 4, machine: Machine = MACHINE) -> Session:
    pages, _ = page_set(folder / "pages", count)
    variant = Space.of("scripted", "cpu", machine).variant({"page_ms": 5, **settings})
    return Session(variant, pages, folder / "trial", machine)


def session(folder: Path, **settings: Setting) -> Session:
    return opened(folder, settings)


def failure(folder: Path, fault: str, deadline_s: float = 30.0) -> Failure:
    """How a session with this fault ends."""
    with session(folder, fault=fault) as running, pytest.raises(TrialFailedError) as caught:
        running.start([0], deadline_s)
        running.read([0, 1, 2, 3], deadline_s)
    return caught.value.failure


@pytest.mark.parametrize(
    ("fault", "kind", "stage", "words"),
    [
        ("unsupported", FailureKind.UNSUPPORTED, "open", "needs hardware"),
        ("raise_on_open", FailureKind.CRASH, "open", "RuntimeError: no such model"),
        ("raise_on_read", FailureKind.CRASH, "warm-up", "cannot read this"),
        ("segfault", FailureKind.CRASH, "warm-up", "SIGSEGV"),
        ("closes_pipes", FailureKind.INVALID_OUTPUT, "warm-up", "went on running"),
        ("killed", FailureKind.OOM, "warm-up", "SIGKILL"),
        ("one_text_too_few", FailureKind.INVALID_OUTPUT, "read", "0 texts for 1 pages"),
        ("wrong_type", FailureKind.INVALID_OUTPUT, "warm-up", "lines.0.text of a wrong type"),
        ("always_out_of_memory", FailureKind.OOM, "warm-up", "do not fit"),
    ],
)
def test_every_fault_of_an_engine_becomes_a_failure(
    scripted: str, tmp_path: Path, fault: str, kind: FailureKind, stage: str, words: str
) -> None:
    found = failure(tmp_path, fault=fault)
    assert (found.kind, found.stage) == (kind, stage)
    assert words in found.message


def test_a_page_that_cannot_be_read_is_an_empty_output_and_not_the_end(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path) as running:
        first = tmp_path / "pages" / "p000.png"
        assert first.is_file()
        first.write_bytes(first.read_bytes()[:60])
        running.start([0], 30.0)  # warms up on the next one
        alone = running.read([0], 30.0)
        others = running.read([1], 30.0)
    assert alone.pages[0].error
    assert not alone.pages[0].text
    assert others.pages[0].text


def test_text_that_no_file_can_hold_is_mended(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, fault="surrogate") as running:
        running.start([], 30.0)
        (page,) = running.read([0], 30.0).pages
    assert page.text.endswith("\N{REPLACEMENT CHARACTER}")
    assert page.text.encode()


def test_a_replica_that_cannot_be_started_is_said_at_once(
    scripted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def popen(*arguments: object, **options: object) -> object:
        if started:
            raise OSError(24, "Too many open files")
        started.append(1)
        return real(*arguments, **options)  # type: ignore[call-overload]

    real = subprocess.Popen
    with session(tmp_path, replicas=2) as running, pytest.raises(TrialFailedError) as caught:
        monkeypatch.setattr(subprocess, "Popen", popen)
        running.start([0], 30.0)
    monkeypatch.undo()
    assert "replica 2 of 2 cannot be started: Too many open files" in caught.value.failure.message


def test_building_is_told_apart_from_the_rest_of_the_cold_start(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, replicas=2) as running:
        running.start([0], 30.0)
        block = running.read([0, 1, 2, 3], 30.0)
    assert running.measurement().build_s == 0.125  # replicas build at the same time
    assert not any("build" in page.stage_s for page in block.pages)


def test_what_an_engine_counts_is_told_apart_by_warm_up_and_replica(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, replicas=2) as running:
        running.start([0], 30.0)
        running.read([0, 1, 2, 3], 30.0, refill=False)
        running.read([1, 2], 30.0, refill=False)
    counted = running.measurement().facts["pages_read"]
    assert list(counted.cold) == [1, 1]
    assert sum(counted.steady) == 6


@pytest.mark.parametrize(
    "settings", [{}, {"pages_per_call": 3}, {"prefetch": 2}, {"prefetch": 3, "pages_per_call": 2}]
)
def test_blocks_begin_clean_though_pages_were_read_again_at_the_end_of_the_one_before(
    scripted: str, tmp_path: Path, settings: Settings
) -> None:
    with opened(tmp_path, {"replicas": 2, **settings}, count=6) as running:
        running.start([0], 30.0)
        for hand in ([0, 1, 2, 3, 4, 5], [3], [5, 0, 4], [1, 2], [0, 1, 2, 3, 4, 5]):
            block = running.read(hand, 30.0)
            assert [page.page_id for page in block.pages] == [f"set/p{index:03d}" for index in hand]
            assert all(page.text and page.done_s <= block.wall_s for page in block.pages)
            assert 0 < block.busy_s <= block.wall_s
            assert block.energy_j is None


def test_what_was_dealt_for_another_time_is_dropped_when_all_pages_are_read(
    scripted: str, tmp_path: Path
) -> None:
    with session(tmp_path, replicas=2, prefetch=8, page_ms=100) as running:
        running.start([0], 30.0)
        running.read([0, 1, 2, 3], 30.0)
    dealt = 2 * 2 * (8 + 1)  # twice the window of each replica
    assert 4 <= sum(running.measurement().facts["pages_read"].steady) < dealt / 2


@pytest.mark.parametrize(("objective", "again"), [(THROUGHPUT, True), (ENERGY, False)])
def test_a_counter_of_energy_meets_no_page_twice(
    scripted: str, tmp_path: Path, objective: Objective, again: bool
) -> None:
    pages, references = page_set(tmp_path / "pages", 3)
    bench = Bench(pages, references, tmp_path, MACHINE, objective=objective)
    with session(tmp_path, replicas=2, page_ms=50) as running:
        running.start([0], 30.0)
        bench.read(running, [0, 1, 2], 30.0)
    assert (sum(running.measurement().facts["pages_read"].steady) > 3) == again


def test_a_crash_keeps_the_last_lines_that_the_engine_printed(scripted: str, tmp_path: Path) -> None:
    assert any("Segmentation fault" in line for line in failure(tmp_path, fault="segfault").stderr_tail)


@pytest.mark.parametrize(("fault", "stage"), [("hang_on_open", "open"), ("hang", "warm-up")])
def test_a_hang_is_killed_at_its_deadline(scripted: str, tmp_path: Path, fault: str, stage: str) -> None:
    began = time.perf_counter()
    found = failure(tmp_path, deadline_s=3.0, fault=fault)
    assert (found.kind, found.stage) == (FailureKind.TIMEOUT, stage)
    assert time.perf_counter() - began < 20


def test_grandchildren_do_not_outlive_a_session(scripted: str, tmp_path: Path) -> None:
    before = {*psutil.Process().children(recursive=True)}
    with session(tmp_path, fault="grandchild") as running:
        running.start([0], 30.0)
        family = {*psutil.Process().children(recursive=True)} - before
        assert any("time.sleep(3600)" in " ".join(process.cmdline()) for process in family)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive


def servers() -> list[psutil.Process]:
    """What the scripted engine has started to outlive it."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "time.sleep(3601)" in " ".join(process.info["cmdline"] or ())
    ]


def test_a_detached_server_does_not_outlive_a_session(scripted: str, tmp_path: Path) -> None:
    before = {*servers()}
    with session(tmp_path, fault="server") as running:
        running.start([0], 30.0)
        (server,) = {*servers()} - before
        assert server not in psutil.Process().children(recursive=True)
        assert os.getsid(server.pid) == server.pid
    _, alive = psutil.wait_procs([server], timeout=10)
    assert not alive


def test_a_detached_server_does_not_outlive_a_deadline(scripted: str, tmp_path: Path) -> None:
    before = {*servers()}
    with session(tmp_path, fault="server_and_hang") as running:
        running.start([], 30.0)
        (server,) = {*servers()} - before
        with pytest.raises(TrialFailedError, match="its deadline"):
            running.read([0], 0.1)
        _, alive = psutil.wait_procs([server], timeout=10)
    assert not alive


def test_a_session_spares_the_servers_of_another(scripted: str, tmp_path: Path) -> None:
    before = {*servers()}
    with session(tmp_path / "a", fault="server") as first:
        first.start([0], 30.0)
        (kept,) = {*servers()} - before
        with session(tmp_path / "b", fault="server") as second:
            second.start([0], 30.0)
        assert {*servers()} - before == {kept}


def test_what_a_library_prints_is_no_answer(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, fault="chatter") as running:
        running.start([0], 30.0)
        block = running.read([1, 2], 30.0)
    assert [page.page_id for page in block.pages] == ["set/p001", "set/p002"]
    assert "straight to descriptor 1" in (tmp_path / "trial" / "stderr-0.log").read_text()


def test_the_out_of_memory_retreat_is_recorded(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, fault="needs_small_calls", pages_per_call=4) as running:
        running.start([0], 30.0)
        block = running.read([0, 1, 2, 3], 30.0)
    assert [page.retreats for page in block.pages] == [1, 1, 1, 1]
    assert all(page.text.startswith("page") for page in block.pages)


@pytest.mark.parametrize("settings", [{}, {"prefetch": 8}, {"pages_per_call": 4, "prefetch": 2}])
def test_replicas_share_the_pages_and_each_is_read_once(
    scripted: str, tmp_path: Path, settings: Settings
) -> None:
    machine = Machine("test", cores=3, memory_mib=1024)
    with opened(tmp_path, {"replicas": 3, **settings}, count=13, machine=machine) as running:
        running.start([0, 1], 30.0)
        for order in ([5, 3, 1], list(range(13)), [12]):
            block = running.read(order, 30.0)
            assert [page.page_id for page in block.pages] == [f"set/p{i:03d}" for i in order]
            assert all(page.error is None for page in block.pages)
    assert len(running.measurement().blocks) == 3


def test_two_replicas_of_a_waiting_engine_are_nearly_twice_as_fast(scripted: str, tmp_path: Path) -> None:
    machine = Machine("test", cores=2, memory_mib=1024)
    wall_s = {}
    for replicas in (1, 2):
        with opened(
            tmp_path / str(replicas), {"replicas": replicas, "page_ms": 200}, count=12, machine=machine
        ) as running:
            running.start([0], 30.0)
            wall_s[replicas] = running.read(range(12), 60.0).wall_s
    assert wall_s[1] / wall_s[2] > 1.3  # nearly 2: the engine sleeps, so that load hardly matters


@pytest.mark.parametrize("settings", [{}, {"prefetch": 4, "pages_per_call": 4}, {"replicas": 2}])
def test_pages_that_arrive_faster_than_they_are_read_wait_and_the_wait_counts(
    scripted: str, tmp_path: Path, settings: Settings
) -> None:
    machine = Machine("test", cores=2, memory_mib=1024)
    arrivals_s = [i * 0.01 for i in range(10)]
    with opened(tmp_path, {"page_ms": 50, **settings}, machine=machine) as running:
        running.start([0], 30.0)
        block = running.serve([i % 4 for i in range(10)], arrivals_s, 30.0)
    assert [page.page_id for page in block.pages] == [f"set/p{i % 4:03d}" for i in range(10)]
    replicas = int(settings.get("replicas", 1))
    work_s = [0.05 * (place // replicas + 1) for place in range(10)]
    # The engine sleeps, so these are lower bounds whatever else the machine does.
    if "pages_per_call" not in settings:
        for page, arrival_s, least_s in zip(block.pages, arrivals_s, work_s, strict=True):
            assert page.seconds >= least_s - arrival_s - 0.001
    assert block.pages[-1].seconds > 0.05 * 10 / replicas - 0.1
    assert block.pages[-1].seconds > block.pages[0].stage_s["recognise"]


def test_a_page_that_comes_late_is_not_counted_from_the_beginning(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, page_ms=5) as running:
        running.start([0], 30.0)
        block = running.serve([0, 1], [0.0, 0.4], 30.0)
    assert block.wall_s >= 0.4
    assert block.pages[1].done_s >= 0.4
    assert block.pages[1].seconds == pytest.approx(block.pages[1].done_s - 0.4)


def test_one_page_at_a_time_is_read_alone_whatever_the_settings(scripted: str, tmp_path: Path) -> None:
    machine = Machine("test", cores=2, memory_mib=1024)
    settings: Settings = {"replicas": 2, "pages_per_call": 4, "prefetch": 4, "page_ms": 20}
    with opened(tmp_path, settings, machine=machine) as running:
        running.start([0], 30.0)
        block = running.read_singly([3, 1, 1], 30.0)
    assert [page.page_id for page in block.pages] == ["set/p003", "set/p001", "set/p001"]
    assert block.wall_s >= sum(page.seconds for page in block.pages) >= 3 * 0.02
    assert block.pages[0].done_s <= block.pages[1].done_s - block.pages[1].seconds


def test_a_server_that_hangs_or_dies_is_noticed(scripted: str, tmp_path: Path) -> None:
    with opened(tmp_path, {"page_ms": 3000}) as slow, pytest.raises(TrialFailedError) as caught:
        slow.start([], 30.0)
        slow.serve([0, 1], [0.0, 0.1], 0.5)
    assert caught.value.failure.kind is FailureKind.TIMEOUT
    with session(tmp_path, fault="segfault") as running, pytest.raises(TrialFailedError) as caught:
        running.start([], 30.0)
        running.serve([0], [0.0], 30.0)
    assert (caught.value.failure.kind, caught.value.failure.stage) == (FailureKind.CRASH, "read")


def test_serving_may_end_early(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path) as running:
        running.start([0], 30.0)
        block = running.serve([0, 1, 2], [0.0, 0.0, 3600.0], 30.0, lambda latency_s: latency_s > 0.005)
        assert [page.page_id for page in block.pages] == ["set/p000"]
        assert len(running.read([1, 2], 30.0).pages) == 2


def test_counters_are_sampled_from_outside(scripted: str, tmp_path: Path) -> None:
    with session(tmp_path, page_ms=200) as running:
        running.start([0], 30.0)
        running.read([0, 1, 2, 3], 30.0)
    measured = running.measurement()
    assert len(measured.samples) > 3
    assert all(sample.values["rss_mib"] > 5 for sample in measured.samples[-3:])
    assert measured.cold_start_s > 0.2


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True), st.integers(1, 50))
def test_core_shares_are_equal_and_cover_every_core(cores: list[int], replicas: int) -> None:
    shares = core_shares(cores, replicas)
    assert len(shares) == replicas
    sizes = {len(share) for share in shares}
    assert max(sizes) - min(sizes) <= 1
    used = [core for share in shares for core in share]
    assert set(used) == set(cores if replicas < len(cores) else cores[: len(used)])
