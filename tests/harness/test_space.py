import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.interface import Choice, Knob, Machine, Ordered, Setting
from harness.errors import UserError
from harness.space import Space, parse_settings, parse_variant

MACHINE = Machine("test", cores=4, memory_mib=8192)
KNOBS = (
    Knob("model", "recognise", Choice(("small", "tiny"), open=True), "small", "weights"),
    Knob("runtime", "recognise", Choice(("onnx", "vino")), "onnx", "runtime"),
    Knob("streams", "recognise", Ordered((1, 2, 4)), 1, "streams", when={"runtime": ("vino",)}),
    Knob("pinned", "recognise", Choice((False, True)), False, "pin", when={"streams": (2, 4)}),
    Knob("score", "postprocess", Ordered((0.0, 0.5), high=1.0), 0.5, "least confidence"),
)
SPACE = Space("test", "cpu", KNOBS)


def test_defaults_leave_out_what_does_not_act() -> None:
    assert SPACE.variant({}).settings == {"model": "small", "runtime": "onnx", "score": 0.5}


def test_conditions_follow_each_other() -> None:
    settings = SPACE.variant({"runtime": "vino", "streams": 2}).settings
    assert settings == {"model": "small", "pinned": False, "runtime": "vino", "score": 0.5, "streams": 2}
    assert "pinned" not in SPACE.suggested({"runtime": "onnx", "streams": 2, "pinned": True}).settings


def test_a_setting_that_cannot_act_is_refused_with_what_it_needs() -> None:
    with pytest.raises(UserError, match=r"'streams' of test acts only with runtime in \(vino\)"):
        SPACE.variant({"streams": 2})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"modle": "tiny"}, "did you mean 'model'"),
        ({"runtime": "trt"}, "onnx, vino"),
        ({"runtime": "vino", "streams": 8}, "1 to 4"),
        ({"runtime": "vino", "streams": True}, "1 to 4"),
        ({"score": 1.5}, "0.0 to 1.0"),
        ({"model": ""}, "or a path"),
    ],
)
def test_what_is_not_admitted_is_refused_with_what_is(settings: dict[str, Setting], words: str) -> None:
    with pytest.raises(UserError, match=words):
        SPACE.variant(settings)


@pytest.mark.parametrize(
    ("settings", "possible"),
    [
        ({}, True),
        ({"runtime": "vino", "streams": 2}, True),
        ({"runtime": "trt"}, False),
        ({"model": "tiny", "modle": "tiny"}, False),
    ],
)
def test_what_is_admitted_can_be_asked(settings: dict[str, Setting], possible: bool) -> None:
    assert SPACE.admits(settings) is possible


def test_numbers_between_the_grid_and_paths_are_admitted() -> None:
    assert SPACE.variant({"score": 0.77, "model": "/models/mine.onnx"}).settings["score"] == 0.77


def test_equal_settings_are_one_variant_whatever_their_order() -> None:
    one = SPACE.variant({"model": "tiny", "score": 0.25})
    other = SPACE.variant({"score": 0.25, "model": "tiny"})
    assert (one, one.id, hash(one)) == (other, other.id, hash(other))
    assert one.id != SPACE.variant({"model": "small", "score": 0.25}).id


def test_texts_become_values_of_the_knobs_type() -> None:
    pairs = ["model=tiny", "runtime=vino", "streams=2", "pinned=yes", "score=0.25"]
    assert parse_settings(pairs, SPACE.by_name, "test") == {
        "model": "tiny",
        "runtime": "vino",
        "streams": 2,
        "pinned": True,
        "score": 0.25,
    }


@pytest.mark.parametrize("text", ["model", "=tiny", "model=", ""])
def test_a_text_that_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="write knob=value"):
        parse_settings([text], SPACE.by_name, "test")


@given(st.text(max_size=30))
def test_any_text_for_a_number_is_a_number_or_a_clear_refusal(text: str) -> None:
    try:
        settings = parse_settings([f"score={text}"], SPACE.by_name, "test")
        value = SPACE.variant(settings).settings["score"]
    except UserError:
        return
    assert isinstance(value, float)
    assert 0.0 <= value <= 1.0


def test_an_engine_with_settings_in_one_word() -> None:
    variant = parse_variant("rapidocr:use_cls=false,rec_batch_num=1", "cpu", MACHINE)
    assert (variant.engine, variant.settings["use_cls"], variant.settings["rec_batch_num"]) == (
        "rapidocr",
        False,
        1,
    )


def test_an_unknown_engine_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="unknown engine 'ppcr': did you mean 'ppocr'"):
        parse_variant("ppcr", "cpu", MACHINE)


def test_a_knob_that_is_fixed_keeps_its_value_wherever_it_acts() -> None:
    space = SPACE.fixed({"streams": 4, "model": "/models/mine.onnx"})
    assert space.variant({}).settings == {"model": "/models/mine.onnx", "runtime": "onnx", "score": 0.5}
    assert space.suggested({"runtime": "vino"}).settings["streams"] == 4
    assert space.by_name["streams"].domain.values == (4,)
    with pytest.raises(UserError, match="1 to 4"):
        SPACE.fixed({"streams": 5})
