from pathlib import Path

import pytest
import yaml

from engines.interface import Machine
from harness.data.resources import resource
from harness.errors import UserError
from harness.phases.applies import unmet, variant_of
from harness.phases.ladder import Ladder, Rung, read_ladder
from harness.space import Space
from harness.values import Variant

LADDERS = sorted(resource("experiments").glob("*.yaml"))
CLAIMS = Path(__file__).parents[4] / "shared" / "claims.yaml"
MACHINE = Machine("test", cores=2, memory_mib=8192)


@pytest.mark.parametrize("path", LADDERS, ids=lambda path: path.stem)
def test_every_ladder_that_ships_is_sound(path: Path) -> None:
    ladder = read_ladder(path)
    assert ladder.ladder == path.stem
    if "ppocr" in ladder.baseline:
        Space.of("ppocr", "cpu", MACHINE).variant(ladder.baseline["ppocr"])


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
        ("{ladder: x, engines: [a], rungs: [{id: r, technique: t}]}", "either settings or covered"),
        ("{ladder: x, engines: [a], rungs: [{id: r, technique: t, covered: c, other: 1}]}", "other"),
        (
            "{ladder: x, engines: [a], rungs: [{id: r, technique: t, covered: c, beside: q}]}",
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
        ({"no_such": 1}, "unknown setting"),
        ({"page_ms": -1}, "not possible here"),
        ({"prefetch": 0}, "already"),
        ({"decode_threads": 2}, "does not act"),
    ],
)
def test_why_a_rung_cannot_apply_is_found_out(scripted: str, settings: dict[str, int], says: str) -> None:
    rung = Rung.model_validate({"id": "r", "technique": "t", "settings": {scripted: settings}})
    ladder = Ladder(ladder="x", engines=(scripted,), rungs=(rung,))

    def baseline(engine: str) -> Variant:
        return Space.of(engine, "cpu", MACHINE).variant({})

    reason = variant_of(ladder, rung, baseline, MACHINE)
    assert isinstance(reason, str)
    assert says in reason


def test_a_machine_without_a_gpu_rules_out_what_needs_one() -> None:
    rung = Rung(id="r", technique="t", covered="c", needs=("gpu",))
    assert "no" in (unmet(rung, MACHINE) or "")
