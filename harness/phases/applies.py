"""Whether a rung can be measured here: judged from what the machine and its engines offer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from engines.interface import Machine, Setting
from harness.errors import UserError
from harness.hardware_rule import available_memory_gib, rule_for, suggestion
from harness.phases.ladder import Ladder, Need, Rung
from harness.phases.values import Quantity
from harness.space import Space, describe
from harness.values import Variant

HARDWARE_RULE: Final = "hardware_rule"
"""What a rung says for settings that follow from the hardware."""
_CORES = "cores"
_NEEDS: Mapping[Need, tuple[Callable[[Machine], bool], str]] = {
    "gpu": (lambda machine: bool(machine.gpus), "a GPU, and none is found here"),
    "several_gpus": (lambda machine: len(machine.gpus) > 1, "several GPUs, and fewer are found here"),
    "nvidia_tensor_cores": (
        lambda machine: bool(machine.gpus),
        "NVIDIA tensor cores, and no GPU is found here",
    ),
    "apple_gpu": (lambda machine: machine.system == "darwin", "an Apple GPU, and this is no Mac"),
}


def unmet(rung: Rung, machine: Machine) -> str | None:
    """Why the machine rules the rung out, None where it does not."""
    for need in rung.needs:
        met, sentence = _NEEDS[need]
        if not met(machine):
            return f"It needs {sentence}."
    return None


def variant_of(
    ladder: Ladder,
    rung: Rung,
    space_of: Callable[[str], Space],
    previous: Callable[[str], Variant],
    machine: Machine,
) -> Variant | str:
    """The rung on the first of the ladder's engines that offers what it sets, or the sentence why none does.

    `space_of(engine)` raises UserError where the engine cannot be used here, and `previous(engine)` is the variant
    that the rung would stand on.
    """
    reasons = []
    for engine in ladder.engines:
        if engine not in rung.settings:
            continue
        try:
            space = space_of(engine)
        except UserError as error:
            reasons.append(str(error).rstrip("."))
            continue
        before = previous(engine)
        settings = settings_on(rung, space, machine)
        if lacking := unoffered(settings, space):
            reasons += lacking
            continue
        after = space.suggested({**before.settings, **settings})
        if idle := [name for name in settings if name not in after.settings]:
            reasons.append(f"{', '.join(idle)} of {engine} does not act on top of the previous rung")
        elif after == before and rung.quantity is not Quantity.FIRST_PAGE:
            reasons.append(f"On {engine} here the previous rung has these settings already")
        else:
            return after
    return " ".join(f"{reason}." for reason in reasons)


def settings_on(rung: Rung, space: Space, machine: Machine) -> dict[str, Setting]:
    """What a rung sets on the engine of `space`, with the machine's own figures put in."""
    asked = rung.settings[space.engine]
    if asked == HARDWARE_RULE:
        return suggestion(rule_for(machine, available_memory_gib()), space.by_name)
    return {name: machine.cores if value == _CORES else value for name, value in dict(asked).items()}


def unoffered(settings: Mapping[str, Setting], space: Space) -> Sequence[str]:
    """What the engine of `space` does not offer, a sentence each: settings that it lacks, values that it refuses."""
    missing = [name for name in settings if name not in space.by_name]
    refused = [
        f"{space.engine} takes {describe(space.by_name[name])} as {name} here, not {value}"
        for name, value in settings.items()
        if name in space.by_name and not space.by_name[name].domain.admits(value)
    ]
    return [*([f"{space.engine} has no setting {', '.join(missing)}"] if missing else []), *refused]
