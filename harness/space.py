"""Settings as users write them and knobs as engines offer them: validation, defaults, conditions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engines.interface import Choice, Engine, Knob, Machine, Ordered, Setting
from harness import environments, pipeline
from harness.errors import UserError, unknown
from harness.values import Variant

_WORDS: Mapping[str, bool] = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}


def load_engine(name: str, machine: Machine) -> Engine:
    """The engine of that name, usable on this machine. Raises UserError."""
    engine = environments.find(name, machine)
    if reason := engine.unusable(machine):
        raise UserError(f"engine {name!r} cannot be used here: {reason}")
    return engine


@dataclass(frozen=True, slots=True)
class Space:
    """Every knob of one engine and of the page pipeline on one machine."""

    engine: str
    device: str
    knobs: tuple[Knob, ...]

    @classmethod
    def of(cls, engine: str, device: str, machine: Machine) -> "Space":
        """The space of a usable engine; a run on the CPU is offered nothing of the GPUs. Raises UserError."""
        seen = replace(machine, gpus=()) if device == "cpu" else machine
        knobs = (*pipeline.knobs(seen), *load_engine(engine, machine).knobs(seen))
        return cls(engine, device, knobs)

    @property
    def by_name(self) -> dict[str, Knob]:
        """Knobs by name."""
        return {knob.name: knob for knob in self.knobs}

    def variant(self, settings: Mapping[str, Setting]) -> Variant:
        """The variant with these settings and defaults elsewhere; knobs that do not act are left out.

        Raises UserError for an unknown knob, a value that it does not admit, or a knob that cannot act.
        """
        self._check(settings)
        complete = self.active({**{knob.name: knob.default for knob in self.knobs}, **settings})
        for name in settings:
            if name not in complete:
                needs = " and ".join(
                    f"{other} in ({', '.join(str(value) for value in values)})"
                    for other, values in self.by_name[name].when.items()
                )
                raise UserError(f"setting {name!r} of {self.engine} acts only with {needs}")
        return Variant(self.engine, self.device, complete)

    def suggested(self, settings: Mapping[str, Setting]) -> Variant:
        """Like `variant`, for settings of a sampler: those that do not act are dropped in silence."""
        self._check(settings)
        return Variant(
            self.engine,
            self.device,
            self.active({**{knob.name: knob.default for knob in self.knobs}, **settings}),
        )

    def admits(self, settings: Mapping[str, Setting]) -> bool:
        """Whether each of these knobs is there and takes its value on this machine."""
        knobs = self.by_name
        return all(name in knobs and knobs[name].domain.admits(value) for name, value in settings.items())

    def admitted(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """What this space can take over of settings that were made elsewhere.

        A text that is admitted without being offered, such as a path, means something only where it was made.
        """

        def meant(domain: Choice | Ordered, value: Setting) -> bool:
            return domain.admits(value) and (isinstance(domain, Ordered) or value in domain.values)

        knobs = self.by_name
        return {
            name: value
            for name, value in settings.items()
            if name in knobs and meant(knobs[name].domain, value)
        }

    def fixed(self, settings: Mapping[str, Setting]) -> "Space":
        """The same space, where these knobs have these values in every variant in which they act.

        Raises UserError where a knob is unknown or does not admit its value.
        """
        self._check(settings)

        def settled(knob: Knob) -> Knob:
            if knob.name not in settings:
                return knob
            value = settings[knob.name]
            # Checked above: the domain admits the value.
            return replace(knob, default=value, domain=replace(knob.domain, values=(value,)))  # type: ignore[arg-type]

        return replace(self, knobs=tuple(settled(knob) for knob in self.knobs))

    def active(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """The settings whose knobs act, given all the others."""
        kept: dict[str, Setting] = dict(settings)
        while True:
            idle = [
                knob.name
                for knob in self.knobs
                if knob.name in kept
                and not all(kept.get(other) in values for other, values in knob.when.items())
            ]
            if not idle:
                return kept
            for name in idle:
                del kept[name]

    def _check(self, settings: Mapping[str, Setting]) -> None:
        for name, value in settings.items():
            if name not in self.by_name:
                raise unknown(f"setting of {self.engine}", name, self.by_name)
            domain = self.by_name[name].domain
            if not domain.admits(value):
                raise UserError(f"{name}={value} is not possible here: {describe(self.by_name[name])}")


def describe(knob: Knob) -> str:
    """The values that a knob takes, for people."""
    domain = knob.domain
    if isinstance(domain, Choice):
        names = ", ".join(
            str(value).lower() if isinstance(value, bool) else str(value) for value in domain.values
        )
        return f"{names}, or a path" if domain.open else names
    low = domain.values[0] if domain.low is None else domain.low
    high = domain.values[-1] if domain.high is None else domain.high
    return f"{low} to {high}"


def parse_settings(pairs: Iterable[str], knobs: Mapping[str, Knob], engine: str) -> dict[str, Setting]:
    """Settings from `knob=value` texts, each value read as its knob's type. Raises UserError."""
    settings: dict[str, Setting] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise UserError(f"{pair!r} is not a setting: write knob=value, such as replicas=2")
        if name not in knobs:
            raise unknown(f"setting of {engine}", name, knobs)
        settings[name] = _typed(text, knobs[name])
    return settings


def _typed(text: str, knob: Knob) -> Setting:
    known: Sequence[Setting] = knob.domain.values
    try:
        if isinstance(known[0], bool) and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if isinstance(known[0], str):
            return text
        if all(isinstance(value, int) and not isinstance(value, bool) for value in known):
            return int(text)
        return float(text)
    except ValueError:
        return text  # not admitted by the domain, which says so


def parse_variant(text: str, device: str, machine: Machine) -> Variant:
    """The variant that `engine[:knob=value,...]` describes. Raises UserError."""
    engine, _, pairs = text.partition(":")
    space = Space.of(engine, device, machine)
    return space.variant(parse_settings([p for p in pairs.split(",") if p], space.by_name, engine))
