"""A study in a real PostgreSQL server, which this module starts for itself and kills when it likes."""

import math
import multiprocessing
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from engines.interface import Choice, Knob, Machine, Ordered, Setting
from harness.errors import UserError
from harness.experiments import Experiment
from harness.machine import Caution, detect
from harness.search.gate import Judgement
from harness.search.proposals import Proposals, settings_of
from harness.search.shared import Company, SharedStudy, job_of, join
from harness.search.tuner import Task, Tuner
from harness.space import Space
from harness.store import RunFolder
from harness.values import Constraints, DataSummary, Measurement, Study, TrialResult, Variant
from tests.pages import page_set

SPACE = Space(
    "test",
    "cpu",
    (
        Knob("model", "recognise", Choice(("small", "tiny")), "small", "weights"),
        Knob("batch", "recognise", Ordered((1, 2, 4, 8, 16)), 16, "batch"),
    ),
)


def program(name: str) -> str:
    """A program of the server, whose folder Debian keeps off the PATH. Skips where there is none."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    found = shutil.which(name) or (str(debian[0]) if debian else None)
    if found is None:
        assert not os.environ.get("CI"), f"{name} must be there in CI"
        pytest.skip(f"{name} is not installed: apt-get install postgresql")
    return found


@dataclass
class Server:
    """A server that listens on a socket in its own folder alone."""

    folder: Path
    user: str | None
    """Who runs it: the server refuses to run as root."""

    @property
    def url(self) -> str:
        return f"postgresql://tester@/postgres?host={self.folder}"

    def control(self, *arguments: str) -> None:
        subprocess.run(
            [program("pg_ctl"), "-D", str(self.folder / "data"), "-w", *arguments],
            check=True,
            user=self.user,
            cwd=self.folder,
            stdout=subprocess.DEVNULL,  # the server keeps what it inherits open
            stderr=subprocess.DEVNULL,
            timeout=60,
        )

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c fsync=off"
        self.control("-l", str(self.folder / "log"), "-o", options, "start")

    def kill(self) -> None:
        self.control("-m", "immediate", "stop")


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg", reason="needs pip install 'ocr-tune[postgresql]'")
    initdb = program("initdb")
    # Not under pytest's folders: a socket's path has at most 107 bytes, and another user must get there.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    running = Server(folder, "nobody" if os.geteuid() == 0 else None)
    try:
        if running.user:
            shutil.chown(folder, running.user)
        subprocess.run(
            [initdb, "-D", str(folder / "data"), "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8"],
            check=True,
            user=running.user,
            cwd=folder,
            capture_output=True,
            timeout=60,
        )
        running.start()
        yield running
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            running.kill()
        shutil.rmtree(folder)


def header(run: str = "run1", fingerprint: str = "f") -> Study:
    return Study(
        id=run,
        created="2026-01-01T00:00:00+00:00",
        engine="test",
        device="cpu",
        objective="throughput",
        budget_s=25.0,
        spent_s=0.0,
        seed=0,
        constraints=Constraints(),
        machine=Machine("test", 2, 1024),
        fingerprint=fingerprint,
        versions={},
        data=(DataSummary("set", "0" * 64, 4, "default", "CC0"),),
        references=(),
        trials=(),
        comparisons=(),
        best=None,
    )


def proposals(shared: SharedStudy, start: list[dict[str, Setting]] | None = None) -> Proposals:
    experiment = Experiment(start=start or [])
    return Proposals(
        SPACE, experiment, shared.storage, shared.name, 0, run=shared.run, tags=shared.tags, turn=shared.turn
    )


def judged(variant: Variant, gain: float, missed: float = -1.0) -> Judgement:
    trial = TrialResult(1, variant, "search", 0, 1, Measurement(1.0, ()))
    return Judgement(trial, math.log(gain), None, {"cer": missed}, likely=missed <= 0)


def told(source: Proposals | Company, gain: float, missed: float = -1.0) -> Variant:
    """Ask once and tell that gain."""
    proposal = source.ask(None)
    assert proposal is not None
    source.tell(proposal, judged(proposal.variant, gain, missed))
    return proposal.variant


def test_what_another_process_measured_is_known_and_its_best_is_measured_here(server: Server) -> None:
    starts: list[dict[str, Setting]] = [{"batch": 8}, {"batch": 4}, {"model": "tiny"}]
    one = proposals(join(server.url, header("one")), starts)
    two = proposals(join(server.url, header("two")), starts)
    assert told(one, 1.5) == SPACE.suggested({"batch": 8})
    at_work = one.ask(None)
    assert at_work is not None
    assert at_work.variant == SPACE.suggested({"batch": 4})
    third = two.ask(None)  # neither what is done nor what is being done
    assert third is not None
    assert third.variant == SPACE.suggested({"model": "tiny"})
    two.tell(third, judged(third.variant, 1.2))
    best = two.ask(None)
    assert best is not None
    assert (best.variant, best.origin) == (SPACE.suggested({"batch": 8}), "shared")
    two.tell(best, judged(best.variant, 1.5))
    one.tell(at_work, judged(at_work.variant, 3.0, missed=0.1))  # faster, and not accurate enough
    after = two.ask(None)
    assert after is not None
    assert after.origin != "shared"
    known = {told(two, 1.0).id for _ in range(3)} | {after.variant.id}
    assert not known & {SPACE.suggested(start).id for start in starts}


def measured_alone(url: str, run: str, many: int) -> list[str]:
    """In a process of its own: the variants that a run measures, by id."""
    source = proposals(join(url, header(run)), [{"batch": 8}, {"batch": 4}])
    # The worst there is, so that no best of the other is measured again.
    return [told(source, 1.0 / (1 + number), missed=0.1).id for number in range(many)]


def test_two_processes_at_once_share_the_work_and_do_nothing_twice(server: Server) -> None:
    join(server.url, header())
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        halves = [pool.submit(measured_alone, server.url, run, 4) for run in ("one", "two")]
        known = [variant for half in halves for variant in half.result()]
    assert len(set(known)) == len(known) == 8


def test_a_turn_is_held_by_one_and_one_that_never_ends_is_not_waited_for(server: Server) -> None:
    shared = join(server.url, header("one"))
    hasty = create_engine(
        shared.database.url, poolclass=NullPool, connect_args={"options": "-c statement_timeout=100"}
    )
    impatient = replace(shared, database=hasty)
    holders = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
    with hasty.connect() as look:
        with shared.turn():
            assert look.execute(holders).scalar() == 1
            with impatient.turn():
                assert look.execute(holders).scalar() == 1
        assert look.execute(holders).scalar() == 0
        with impatient.turn():
            assert look.execute(holders).scalar() == 1


def test_every_trial_carries_its_machine_and_its_run(server: Server) -> None:
    shared = join(server.url, header("one", "f1"))
    told(proposals(shared), 1.5)
    (study,) = optuna.get_all_study_summaries(shared.storage)
    (trial,) = optuna.load_study(study_name=study.study_name, storage=shared.storage).trials
    assert (trial.user_attrs["fingerprint"], trial.user_attrs["run"]) == ("f1", "one")
    assert trial.state is TrialState.COMPLETE
    assert trial.value == pytest.approx(math.log(1.5))


def test_other_machines_suggest_their_best_and_nothing_is_believed(server: Server) -> None:
    for run, kind, batch, gain, missed in (
        ("a", "f1", 2, 9.0, 0.1),
        ("b", "f1", 4, 2.0, -1.0),
        ("c", "f2", 8, 3.0, -1.0),
    ):
        told(proposals(join(server.url, header(run, kind)), [{"batch": batch}]), gain, missed)
    here = join(server.url, header("d", "f3"))
    assert [found["batch"] for found in here.suggestions(SPACE, 5)] == [8, 4]
    assert [found["batch"] for found in here.suggestions(SPACE, 1)] == [8]
    smaller = Space("test", "cpu", (SPACE.knobs[0],))
    assert here.suggestions(smaller, 1) == [{"model": "small"}]
    mine = proposals(here, [{"batch": 8}])
    first = mine.ask(None)
    assert first is not None
    assert first.variant.settings["batch"] == 8  # measured here, though another machine knows it
    other_bounds = replace(header("e", "f4"), constraints=Constraints(max_cer_increase=0.5))
    assert join(server.url, other_bounds).suggestions(SPACE, 5) == []


def test_a_run_that_is_taken_up_again_adds_nothing_twice(server: Server) -> None:
    shared = join(server.url, header("one"))
    variant = told(proposals(shared), 1.5)
    again = proposals(join(server.url, header("one")))
    again.recall(judged(variant, 1.5))
    (study,) = optuna.get_all_study_summaries(shared.storage)
    assert study.n_trials == 1
    proposal = again.ask(None)
    assert proposal is not None
    assert proposal.variant != variant


def company(shared: SharedStudy, folder: Path, losses: list[str]) -> Company:
    def alone() -> Proposals:
        return Proposals(SPACE, Experiment(), f"sqlite:///{folder / 'study.db'}", "alone", 0)

    return Company(lambda: proposals(shared), alone, lambda: losses.append("lost"))


@pytest.mark.parametrize("at", ["ask", "tell", "open", "recall"])
def test_a_database_that_dies_loses_no_trial(server: Server, tmp_path: Path, at: str) -> None:
    losses: list[str] = []
    shared = join(server.url, header("one"))
    if at == "open":
        server.kill()
    source = company(shared, tmp_path, losses)
    known = [told(source, 1.5), told(source, 1.2)]
    if at == "tell":
        proposal = source.ask(None)
        assert proposal is not None
        server.kill()
        source.tell(proposal, judged(proposal.variant, 2.0))
        known.append(proposal.variant)
    elif at != "open":
        server.kill()
    if at == "recall":
        known.append(SPACE.suggested({"model": "tiny", "batch": 1}))
        source.recall(judged(known[-1], 1.1))
    later = [told(source, 1.0) for _ in range(3)]
    assert losses == ["lost"]
    assert not {variant.id for variant in known} & {variant.id for variant in later}
    kept = optuna.load_study(study_name="alone", storage=f"sqlite:///{tmp_path / 'study.db'}")
    told_alone = [settings_of(trial) for trial in kept.get_trials(states=(TrialState.COMPLETE,))]
    # The sampler also hears again what it proposes twice; such trials carry no settings.
    assert [settings for settings in told_alone if settings] == [v.settings for v in (*known, *later)]


class Killer:
    """A listener that kills the database when a trial of that number begins."""

    def __init__(self, kill: Callable[[], None], at: int) -> None:
        self.kill, self.at = kill, at

    def phase(self, name: str) -> None: ...

    def trial(self, number: int, variant: Variant, origin: str) -> None:
        if number == self.at:
            self.kill()

    def judged(self, judgement: Judgement, incumbent: Judgement | None) -> None: ...

    def round(self, number: int, rounds: int) -> None: ...


def test_a_whole_run_outlives_its_database(server: Server, scripted: str, tmp_path: Path) -> None:
    machine = detect()
    pages, references = page_set(tmp_path / "pages", 16)
    work = replace(header(), engine="scripted", references=references, machine=machine, budget_s=60.0)
    experiment = Experiment(
        search={"page_ms": [10, 80], "garbled_pct": [0, 10], "fault": ["none"]}, start=[{"page_ms": 10}]
    )
    space = Space.of("scripted", "cpu", machine)
    task = Task(work, pages, space, experiment, join(server.url, work))
    folder = RunFolder.create(tmp_path / "run")
    study = Tuner(task, folder, machine, Killer(server.kill, at=2)).run()
    assert Caution.STORAGE_LOST.sentence in study.cautions
    assert study.best is not None
    assert study.best.settings["page_ms"] == 10
    assert [trial.number for trial in folder.trials()] == [trial.number for trial in study.trials]
    assert len([trial for trial in study.trials if trial.phase == "search"]) >= 2


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("not an address", "is not an address"),
        ("mysql://tester@host/db", "takes postgresql://"),
        (
            "postgresql://tester:secret@/db?host=/nowhere",
            r"cannot use the database postgresql://tester:\*\*\*@/db",
        ),
    ],
)
def test_a_database_that_cannot_be_used_is_said_plainly(url: str, words: str) -> None:
    pytest.importorskip("psycopg", reason="needs pip install 'ocr-tune[postgresql]'")
    with pytest.raises(UserError, match=words) as caught:
        join(url, header())
    assert "secret" not in str(caught.value)


def test_a_job_is_the_same_on_every_gpu_and_another_with_other_pages() -> None:
    base = replace(header(), device="cuda:0")
    assert job_of(base) == job_of(replace(base, device="cuda:1", fingerprint="other", seed=9, id="x"))
    others = (
        replace(base, device="cpu"),
        replace(base, objective="server", rate=2.0),
        replace(base, data=(replace(base.data[0], sha256="1" * 64),)),
        replace(base, constraints=Constraints(max_p99_ms=100)),
    )
    assert len({job_of(base), *(job_of(other) for other in others)}) == 5
