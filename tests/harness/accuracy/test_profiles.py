import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.accuracy.profiles import PROFILES, normalise
from harness.errors import UserError


@pytest.mark.parametrize("name", PROFILES)
@given(text=st.text())
def test_normalising_twice_changes_nothing_more_and_ends_in_nfc(name: str, text: str) -> None:
    once = normalise(text, name)
    assert normalise(once, name) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()


@pytest.mark.parametrize(
    ("text", "strict", "default"),
    [
        ("a \t\n\u00a0\u3000b \n", "a b", "a b"),
        ("e\u0301", "é", "é"),
        ("“it’s” «so» ‚ok‘ `x´", "“it’s” «so» ‚ok‘ `x´", "\"it's\" \"so\" 'ok' 'x'"),
        ("1914–18 — a‐b − c", "1914–18 — a‐b − c", "1914-18 - a-b - c"),
        ("ﬁnd oﬃce ﬂoor ĳs", "ﬁnd oﬃce ﬂoor ĳs", "find office floor ijs"),
        ("ＡＢ１２（％）＇＂－", "ＡＢ１２（％）＇＂－", "AB12(%)'\"-"),
        ("ｶﾞｲﾄﾞ", "ｶﾞｲﾄﾞ", "ガイド"),
        ("co\u00adop", "co\u00adop", "coop"),
        ("exam-\nple", "exam- ple", "example"),
        ("exam- \r\n  ple", "exam- ple", "example"),
        (
            "EXAM-\nPLE exam\u00ad\nple exam¬\nple",
            "EXAM- PLE exam\u00ad ple exam¬ ple",
            "EXAMPLE example example",
        ),
        ("Anglo-\nSaxon", "Anglo- Saxon", "Anglo-Saxon"),
        (
            "1990-\n1995 wait -\nno yes—\nbut",
            "1990- 1995 wait - no yes— but",
            "1990- 1995 wait - no yes- but",
        ),
        ("x² ½ æ œ ß ① ㎏ …", "x² ½ æ œ ß ① ㎏ …", "x² ½ æ œ ß ① ㎏ …"),
        ("プログラム 一", "プログラム 一", "プログラム 一"),
    ],
)
def test_strict_folds_whitespace_only_and_default_unifies_look_alikes(
    text: str, strict: str, default: str
) -> None:
    assert normalise(text, "strict") == strict
    assert normalise(text, "default") == default


def test_loose_drops_case_and_punctuation() -> None:
    assert normalise("“Straße”, No. 5 – O’Neil!\nUP-\nPER $5+1", "loose") == "strasse no 5 oneil upper $5+1"


def test_cjk_drops_all_whitespace() -> None:
    assert normalise("コマンド， 引数\n が\u3000ある。 Ａ B", "cjk") == "コマンド,引数がある。AB"
    assert not PROFILES["cjk"].has_words


def test_historic_modernises_long_s_combining_e_and_r_rotunda() -> None:
    assert (
        normalise("Waſſer ſchoͤn huͤbſch Maͤr ﬅadt oꝛden Aͤ", "historic")
        == "Wasser schön hübsch Mär stadt orden Ä"
    )
    assert normalise("Waſſer ſchoͤn", "default") == "Waſſer ſchoͤn"


def test_an_unknown_profile_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="did you mean 'strict'"):
        normalise("a", "strikt")


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("# Title\n\nA *long* and __short__ `code`.", "Title A long and short code."),
        ("> ## quoted\n\n- one\n- two\n\n---\n", "quoted one two"),
        ("| a | b |\n|:--|--:|\n| 1 | 2 |", "a b 1 2"),
        (
            "See [the page](https://e.org/x_y) ![](_page_0_Figure_1.jpeg)here<sup>2</sup>",
            "See the page here2",
        ),
        ("R&amp;D, 5 &lt; 6, a\\_b, snake\\*", "R&D, 5 < 6, ab, snake"),
        ("3 - 4 = -1\n#hash, issue #5", "3 - 4 = -1 #hash, issue #5"),
        ("wait —\nItems:<br>• tea", "wait - Items: • tea"),
    ],
)
def test_markdown_reads_as_its_plain_text(markdown: str, plain: str) -> None:
    assert normalise(markdown, "markdown") == plain
