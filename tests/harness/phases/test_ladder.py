from pathlib import Path

import pytest
import yaml

from engines import registry
from engines.interface import Gpu, Machine
from harness import pipeline
from harness.data.resources import resource
from harness.errors import UserError
from harness.phases.applies import settings_on, unmet, unoffered, variant_of
from harness.phases.ladder import Ladder, Rung, read_ladder
from harness.space import Space

LADDERS = sorted(resource("experiments").glob("*.yaml"))
CLAIMS = Path(__file__).parents[4] / "shared" / "claims.yaml"
MACHINE = Machine("test", cores=2, memory_mib=8192)
GPUS = tuple(Gpu(index, "test", 16384, "1") for index in range(2))
LARGE = Machine("test", cores=8, memory_mib=32768, gpus=GPUS)
BY_VERSION = {"marker"}
"""Engines whose knobs depend on their installed version and weights: their own tests hold rungs against versions."""
NOT_OFFERED = {
    "maoocr": {("int4", "ppocr"), ("structured-pruning", "ppocr"), ("adaptive-batch", "ppocr")},
    "scipix": {
        (rung, "ppocr")
        for rung in (*("pruning", "speculative", "mmap", "memoisation", "gpu-preprocess", "lazy-load"),)
    },
}
"""Rungs whose settings no engine has: the run says so. Whoever adds one takes it out of here."""


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_every_ladder_that_ships_is_sound(path: Path) -> None:
    ladder = read_ladder(path)
    assert ladder.ladder == path.stem
    for engine, settings in ladder.baseline.items():
        assert not unoffered(settings, _space(engine))


def _space(engine: str) -> Space:
    """What an engine offers, usable here or not, on a machine that rules nothing out."""
    return Space(engine, "cpu", (*pipeline.knobs(LARGE), *registry.load(engine).knobs(LARGE)))


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_what_rungs_set_exists_but_for_what_no_engine_offers_yet(path: Path) -> None:
    ladder, unknown = read_ladder(path), set()
    for rung in ladder.rungs:
        for engine in (set(rung.settings) & set(registry.names())) - BY_VERSION:
            space = _space(engine)
            assert not unoffered(rung.given.get(engine, {}), space)
            if unoffered(settings_on(rung, space, LARGE), space):
                unknown.add((rung.id, engine))
    assert unknown == NOT_OFFERED.get(ladder.ladder, set())


def test_every_published_claim_has_its_rung_and_its_figure() -> None:
    if not CLAIMS.exists():
        pytest.skip(f"{CLAIMS} is not here")
    for guide, content in yaml.safe_load(CLAIMS.read_text()).items():
        rungs = {rung.id: rung for rung in read_ladder(resource(f"experiments/{guide}.yaml")).rungs}
        assert list(rungs) == [claim["id"] for claim in content["rungs"]]
        for claim in content["rungs"]:
            gain = claim.get("gain")
            if not isinstance(gain, str | None):
                expected = tuple(gain) if isinstance(gain, list) else (gain, gain)
                assert rungs[claim["id"]].claim.range == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("search: {replicas: [1]}", "lacks the key `ladder`"),
        ("[", "not YAML"),
        ("!!python/object/apply:os.system [ls]", "not YAML"),
        ("{ladder: x, engines: [a], rungs: []}", "rungs"),
        ("{ladder: x, engines: [a], rungs: [{id: r, technique: t}]}", "either settings or a probe"),
        ("{ladder: x, engines: [a], rungs: [{id: r, technique: t, probe: grid, other: 1}]}", "other"),
        (
            "{ladder: x, engines: [a], rungs: [{id: r, technique: t, probe: grid, beside: q}]}",
            "no earlier rung",
        ),
        ("{ladder: x, engines: [a], rungs: [{id: r, technique: t, settings: {b: {}}}]}", "engines lacks b"),
    ],
)
def test_a_file_that_is_no_ladder_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_ladder(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_ladder(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"no_such": 1}, "has no setting no_such"),
        ({"page_ms": -1}, "takes 5 to 10000 as page_ms here, not -1"),
        ({"prefetch": 0}, "already"),
        ({"decode_threads": 2}, "does not act"),
    ],
)
def test_why_a_rung_cannot_apply_is_found_out(scripted: str, settings: dict[str, int], says: str) -> None:
    rung = Rung.model_validate({"id": "r", "technique": "t", "settings": {scripted: settings}})
    ladder = Ladder(ladder="x", engines=(scripted,), rungs=(rung,))

    def space(engine: str) -> Space:
        return Space.of(engine, "cpu", MACHINE)

    reason = variant_of(ladder, rung, space, lambda engine: space(engine).variant({}), MACHINE)
    assert isinstance(reason, str)
    assert says in reason


def test_a_machine_without_a_gpu_rules_out_what_needs_one() -> None:
    rung = Rung(id="r", technique="t", probe="grid", needs=("gpu",))
    assert "no" in (unmet(rung, MACHINE) or "")
