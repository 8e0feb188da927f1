"""Which settings matter: what each had to do with the speed, and whether it did anything at all."""

from collections.abc import Sequence

from harness.importance import importance
from harness.liveness import Effect, Life, Liveness, from_trials
from reports import charts
from reports.blocks import Block, Chart, Folded, Mark, Prose, Row, Table, long, num, text
from reports.sections.phrases import value
from reports.view import Run
from reports.words import DASH, NO_BREAK, clean, count, factor, number

_DRAWN = 12
_SAYS = {
    Life.DEAD: "nothing",
    Life.UNCLEAR: "not told apart in this run",
    Life.FAILED: "failed",
    Life.UNTESTED: "not told apart in this run",
}


def matters(run: Run) -> Sequence[Block]:
    """Importance of the settings for throughput, and what each was seen to change."""
    whole = [trial for trial in run.measured if not trial.partial]
    shares = importance([(trial.variant.settings, trial.pages_per_second or 0.0) for trial in whole])
    lives = from_trials([trial.result for trial in run.searched])
    if not lives or len(run.searched) < 2:
        return []
    blocks: list[Block] = []
    if shares:
        drawn = dict(list(shares.items())[:_DRAWN])
        first = clean(next(iter(drawn)))
        share = _share(next(iter(drawn.values())))
        says = f"What tells the fastest tenth of the trials from the rest: above all {first}, {share}."
        blocks.append(
            Chart(
                charts.shares(drawn, f"{run.key}-importance", says),
                f"{says} Shares of PED-ANOVA over {count(len(whole), 'whole trial')}; a search that looks "
                "more often where it is fast cannot weigh settings that it hardly tried.",
            )
        )
    lives = tuple(sorted(lives, key=lambda life: (-shares.get(life.knob, 0.0), not life.effects, life.knob)))
    told = [life for life in lives if life.effects or life.life is Life.FAILED]
    rest = [life for life in lives if life not in told]
    columns = (
        *(text("Setting"), num("Importance"), text("Changed"), num("Throughput"), num("Peak memory")),
        *(num("Pairs of trials"), long("Values tried")),
    )
    if told:
        caption = "Settings that were seen to do something, from pairs of trials that differ in nothing else"
        blocks.append(Table(caption, columns, [_row(run, life, shares) for life in told]))
    if rest:
        blocks.append(
            Folded(
                f"{count(len(rest), 'setting')} not told apart in this run",
                [
                    Prose(
                        "Either no two trials differ in this setting alone, or their difference is within the 16 % "
                        "by which trials minutes apart differ for nothing. `tune doctor --knobs` measures each "
                        "beside its base."
                    ),
                    Table("Settings not told apart", columns, [_row(run, life, shares) for life in rest]),
                ],
            )
        )
    return blocks


def _row(run: Run, life: Liveness, shares: dict[str, float]) -> Row:
    read = [step for step in life.steps if step.speedup is not None]
    ratios = [step.speedup.value for step in read if step.speedup]
    grown = [abs(step.memory_mib) for step in read if step.memory_mib is not None]
    failures = sorted({step.failure for step in life.steps if step.failure})
    settings = [trial.variant.settings for trial in run.searched]
    values = dict.fromkeys(value(tried[life.knob]) for tried in settings if life.knob in tried)
    changed = ", ".join(effect for effect in Effect if effect in life.effects) or _SAYS[life.life]
    mark: Mark = "failed" if life.life is Life.FAILED else ""
    largest = max((max(ratio, 1 / ratio) for ratio in ratios), default=None)
    return Row(
        (
            life.knob,
            _share(shares[life.knob]) if life.knob in shares else DASH,
            f"{changed}: {', '.join(failures)}" if life.life is Life.FAILED else changed,
            f"up to {factor(largest)}" if largest and Effect.TIME in life.effects else DASH,
            f"up to {number(max(grown))} MiB" if Effect.MEMORY in life.effects else DASH,
            str(len(life.steps)),
            ", ".join(values),
        ),
        mark,
    )


def _share(share: float) -> str:
    return f"{100 * share:.0f}{NO_BREAK}%"
