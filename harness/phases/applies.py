"""Whether a rung can be measured here: judged from what the machine and its engines offer."""

from collections.abc import Callable, Mapping

from engines.interface import Machine
from harness.errors import UserError
from harness.hardware_rule import available_memory_gib, rule_for, suggestion
from harness.phases.ladder import Ladder, Need, Rung
from harness.space import Space
from harness.values import Variant

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
    ladder: Ladder, rung: Rung, previous: Callable[[str], Variant], machine: Machine
) -> Variant | str:
    """The rung on the first of the ladder's engines that offers what it sets, or the sentence why none does.

    `previous(engine)` is the variant that the rung would stand on.
    """
    reasons = []
    for engine in ladder.engines:
        if engine not in rung.settings:
            continue
        try:
            before = previous(engine)
            space = Space.of(engine, before.device, machine)
            asked = rung.settings[engine]
            settings = (
                suggestion(rule_for(machine, available_memory_gib()), space.by_name)
                if asked == "hardware_rule"
                else {
                    name: machine.cores if value == _CORES else value for name, value in dict(asked).items()
                }
            )
            after = space.suggested({**before.settings, **settings})
        except UserError as error:
            reasons.append(str(error).rstrip("."))
            continue
        if idle := [name for name in settings if name not in after.settings]:
            reasons.append(f"{', '.join(idle)} of {engine} does not act on top of the previous rung")
            continue
        if after == before:
            reasons.append(f"on {engine} here the previous rung has these settings already")
            continue
        return after
    return "; ".join(reasons) + "."
