"""What other programs read."""

from xml.etree import ElementTree as ET

import pytest

from harness.check.outputs import CheckResult, annotations, document, junit, markdown, sentence
from harness.check.verdicts import Finding, Outcome
from harness.values import Interval

HOSTILE = "cer_a|b\x1b<script>::,file=x\n::error::injected"
"""Of a data set whose folder is named so."""
RESULT = CheckResult(
    Outcome.REGRESSION,
    (
        Finding("throughput", "pages/s", 2, 1.8, Interval(0.1, 0.08, 0.12), 0.05, Outcome.REGRESSION),
        Finding("cer", "ratio", 0.1, 0.1, Interval(0, -0.01, 0.01), 0.002, Outcome.INCONCLUSIVE, 0.5),
        Finding(HOSTILE, "ratio", 0.1, 0.1, Interval(0.01, 0, 0.01), 0.002, Outcome.REGRESSION, 0.01),
    ),
    "a|b <script>.yaml",
    "b\n::error::injected",
    12,
    6,
    30.5,
    "a machine",
    "abc",
    failure="control \x00\x1b and\n::warning::injected 100%",
)


def test_junit_counts_what_it_holds_and_survives_control_characters() -> None:
    suite = ET.fromstring(junit(RESULT))  # noqa: S314  our own
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "4",
        "failures": "3",
        "skipped": "1",
    }


def test_no_text_starts_another_command_of_github() -> None:
    lines = annotations(RESULT).splitlines()
    assert len(lines) == 4
    assert lines[3].startswith("::error title=tune check cer_a|b\x1b<script>%3A%3A%2Cfile=x%0A%3A%3Aerror")
    assert lines[0].startswith("::error title=tune check measurement::")
    assert "%0A::warning::injected 100%25" in lines[0]


def test_markdown_is_escaped() -> None:
    text = markdown(RESULT)
    assert "<script>" not in text
    assert "a\\|b" in text
    assert "cer\\_a\\|b" in text


def test_a_bound_that_says_nothing_is_not_printed_with_its_digits() -> None:
    cold = Finding("cold_start", "s", 1, 1, Interval(0.01, -1.0, 1e300), 0.25, Outcome.PASS)
    assert "(-100.00 % to unknown; allowed +25.00 %)" in sentence(cold)
    failed = Finding("failed_pages", "pages", 0, 250, Interval(250, 250, 250), 0, Outcome.REGRESSION)
    assert "worse by 250 (250 to 250; allowed 0)" in sentence(failed)


def test_json_has_no_infinite_bound() -> None:
    assert document(RESULT)["metrics"]["cer"]["ci95"] == pytest.approx([-0.01, 0.01])
