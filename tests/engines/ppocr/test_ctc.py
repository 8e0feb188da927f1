"""The decoder beside RapidOCR's, and its figures by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidocr.ch_ppocr_rec.utils import CTCLabelDecode

from engines.ppocr.ctc import alphabet, best_path

CHARACTERS = list("abcdef")


def chances(best: list[int], sure: list[float]) -> np.ndarray:
    """One line whose step i is `best[i]` with probability `sure[i]`; the rest is shared by the others."""
    line = np.empty((1, len(best), len(CHARACTERS) + 2), np.float32)
    for step, (symbol, probability) in enumerate(zip(best, sure, strict=True)):
        line[0, step] = (1 - probability) / (line.shape[2] - 1)
        line[0, step, symbol] = probability
    return line


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40))
def test_text_and_confidence_are_those_of_rapidocr(seed: int, lines: int, steps: int) -> None:
    random = np.random.default_rng(seed)
    # Few classes and steep chances: blanks, repetitions and ties all come up.
    scores = random.integers(0, 9, (lines, steps, len(CHARACTERS) + 2)).astype(np.float32)
    output = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
    peer = CTCLabelDecode(character=CHARACTERS.copy())
    theirs, _ = peer.decode(output.argmax(axis=2), output.max(axis=2), remove_duplicate=True)
    assert [reading[:2] for reading in best_path(output, alphabet(CHARACTERS))] == theirs


@pytest.mark.parametrize(
    ("best", "sure", "text", "weakest"),
    [
        ([1, 2, 3], [0.9, 0.5, 0.7], "abc", 0.6),
        ([1, 0, 1], [0.9, 0.2, 0.7], "aa", 0.8),
        ([1, 1, 7], [0.6, 0.9, 0.8], "a ", 0.7),
        ([4], [0.4], "d", 0.4),
        ([0, 0], [0.9, 0.9], "", 0.0),
    ],
)
def test_the_weakest_characters_are_two_at_most_and_blanks_are_none(
    best: list[int], sure: list[float], text: str, weakest: float
) -> None:
    (reading,) = best_path(chances(best, sure), alphabet(CHARACTERS))
    assert reading.text == text
    assert reading.weakest == pytest.approx(weakest)
