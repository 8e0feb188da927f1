from hypothesis import given
from hypothesis import strategies as st

from harness.accuracy.diff import Change, opcodes
from harness.accuracy.distances import character_edits
from harness.accuracy.profiles import normalise

TEXT = st.text(alphabet="abc é\u0301🇩🇪\n", max_size=20)


@given(reference=TEXT, hypothesis=TEXT)
def test_the_stretches_join_to_both_texts(reference: str, hypothesis: str) -> None:
    changes = opcodes(reference, hypothesis, "default")
    assert "".join(change.reference for change in changes) == normalise(reference, "default")
    assert "".join(change.hypothesis for change in changes) == normalise(hypothesis, "default")
    assert all((change.kind == "equal") == (change.reference == change.hypothesis) for change in changes)


def test_a_difference_is_named_by_kind() -> None:
    assert opcodes("the  cat sat", "the bat sat on", "default") == [
        Change("equal", "the ", "the "),
        Change("replace", "c", "b"),
        Change("equal", "at sat", "at sat"),
        Change("insert", "", " on"),
    ]
    assert character_edits("the  cat sat", "the bat sat on", "default").errors == 4
