"""A study that several machines work on at once, in a PostgreSQL database.

Throughput does not transfer between machines: trials of one fingerprint are one Optuna study, and the best of other
fingerprints are starts at most. The run folder stays the truth: a database that is lost costs nothing but company.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from engines.interface import Setting
from harness.errors import UserError
from harness.search.gate import Judgement
from harness.search.proposals import Proposal, Proposals, settings_of
from harness.space import Space
from harness.values import Study, Variant

LOST = (StorageInternalError, SQLAlchemyError)
"""What a database that has gone away raises."""
_JOB, _FINGERPRINT = "job", "fingerprint"
_QUERY_CANCELED = "57014"
"""SQLSTATE of a statement that took longer than its timeout (PostgreSQL manual, appendix A)."""
# A network that swallows packets must cost seconds, not the budget (libpq's own words, in s and ms).
_CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 20_000, "options": "-c statement_timeout=20000"}


@dataclass(frozen=True, slots=True)
class SharedStudy:
    """The part of a database that belongs to one job: the same engine, pages, objective and bounds."""

    storage: BaseStorage
    database: Engine
    job: str
    fingerprint: str
    run: str

    @property
    def name(self) -> str:
        """Of the Optuna study of this job on machines of this fingerprint."""
        return f"{self.job}/{self.fingerprint}"

    @property
    def tags(self) -> dict[str, str]:
        """What every trial and the study carry."""
        return {_JOB: self.job, _FINGERPRINT: self.fingerprint}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold this study alone among all processes, so that none proposes what another is about to.

        A process that dies gives it back. Raises what `LOST` names.
        """
        key = "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"
        with self.database.connect() as connection:
            try:
                connection.execute(text(key), {"name": self.name})
            except OperationalError as error:
                # Whoever holds it has stopped: work that is done twice is better than none.
                if getattr(error.orig, "sqlstate", None) != _QUERY_CANCELED:
                    raise
            yield

    def suggestions(self, space: Space, most: int) -> list[dict[str, Setting]]:
        """The best settings of each other kind of machine, as far as this space admits them; at most `most`."""
        found = []
        for study in optuna.get_all_study_summaries(self.storage):
            kind = study.user_attrs.get(_FINGERPRINT)
            if study.user_attrs.get(_JOB) == self.job and kind != self.fingerprint:
                trials = optuna.load_study(study_name=study.study_name, storage=self.storage).get_trials(
                    deepcopy=False, states=(TrialState.COMPLETE,)
                )
                best = max(filter(_feasible, trials), key=_value, default=None)
                if best is not None and (settings := settings_of(best)):
                    found.append((_value(best), space.admitted(settings)))
        found.sort(key=lambda pair: -pair[0])
        return [settings for _, settings in found[:most]]


def join(url: str, header: Study) -> SharedStudy:
    """The shared study that a run belongs to. Raises UserError where the database cannot be reached."""
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise UserError(
            f"--storage {url!r} is not an address; write postgresql://USER@HOST/DATABASE"
        ) from error
    if address.get_backend_name() != "postgresql":
        raise UserError(
            f"--storage takes postgresql://USER@HOST/DATABASE, not {address.drivername}; without it the study is "
            "kept in the run folder"
        )
    shown = address.render_as_string(hide_password=True)
    # A connection for every visit: they are minutes apart, and none is left to go stale between them.
    engine_kwargs = {"poolclass": NullPool, "connect_args": _CONNECT}
    try:
        own = _opened(address.set(drivername="postgresql+psycopg").render_as_string(False), engine_kwargs)
    except ImportError as error:
        raise UserError("--storage needs a driver: pip install 'ocr-tune[postgresql]'") from error
    except LOST as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise UserError(f"cannot use the database {shown}: {reason}") from error
    storage = optuna.storages.get_storage(own)  # with Optuna's cache before it
    return SharedStudy(storage, own.engine, job_of(header), header.fingerprint, header.id)


def _opened(url: str, engine_kwargs: dict[str, object]) -> RDBStorage:
    try:
        return RDBStorage(url, engine_kwargs=engine_kwargs)
    except LOST:
        # Two first runs that create the tables at once: one of them fails, and finds them made the next time.
        return RDBStorage(url, engine_kwargs=engine_kwargs)


def job_of(header: Study) -> str:
    """Twelve hexadecimal digits of what makes trials of two runs comparable, the machine left out."""
    bounds = header.constraints
    facts = {
        "engine": header.engine,
        "device": header.device.partition(":")[0],
        "objective": [header.objective, header.rate],
        "data": [[data.name, data.sha256, data.profile] for data in header.data],
        "bounds": [getattr(bounds, name) for name in sorted(bounds.__dataclass_fields__)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


class Company:
    """Proposals from a shared study for as long as its database answers, then from a study of this run alone."""

    def __init__(
        self, shared: Callable[[], Proposals], alone: Callable[[], Proposals], lost: Callable[[], None]
    ) -> None:
        self._alone, self._lost = alone, lost
        self._known: list[Judgement] = []
        self._shared = True
        try:
            self._inner = shared()
        except LOST:
            self._leave(set())

    def ask(self, incumbent: Variant | None) -> Proposal | None:
        """As `Proposals.ask`."""
        try:
            return self._inner.ask(incumbent)
        except LOST:
            self._leave(self._inner.asked)
            return self._inner.ask(incumbent)

    def tell(self, proposal: Proposal, judgement: Judgement) -> None:
        """As `Proposals.tell`."""
        self._known.append(judgement)
        try:
            if self._inner.made(proposal):
                self._inner.tell(proposal, judgement)
            else:  # asked for before the database went away
                self._inner.recall(judgement)
        except LOST:
            self._leave(self._inner.asked)

    def believed(self, judgements: Sequence[Judgement]) -> list[Judgement]:
        """As `Proposals.believed`."""
        return self._inner.believed(judgements)

    def drop(self, proposal: Proposal) -> None:
        """As `Proposals.drop`."""
        try:
            if self._inner.made(proposal):
                self._inner.drop(proposal)
            else:
                self._inner.asked.discard(proposal.variant.id)
        except LOST:
            self._leave(self._inner.asked)

    def recall(self, judgement: Judgement) -> None:
        """As `Proposals.recall`."""
        self._known.append(judgement)
        try:
            self._inner.recall(judgement)
        except LOST:
            self._leave(self._inner.asked)

    def _leave(self, asked: set[str]) -> None:
        """Go on alone with all that this run has measured, while it is at those `asked`.

        A failure of one's own database is raised.
        """
        if not self._shared:
            raise  # noqa: PLE0704  called while that failure is handled
        self._shared = False
        self._lost()
        self._inner = self._alone()
        self._inner.asked |= asked
        for judgement in self._known:
            self._inner.recall(judgement)


def _feasible(trial: FrozenTrial) -> bool:
    return trial.value is not None and all(violation <= 0 for violation in trial.constraints.values())


def _value(trial: FrozenTrial) -> float:
    return trial.value if trial.value is not None else float("-inf")
