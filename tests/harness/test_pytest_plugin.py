"""The fixture `ocr_gate` in test suites of its users, run by pytest itself, and the page of their figures."""

import json
import os
from pathlib import Path

import pytest

from harness.check.benchmarks import read_benchmarks
from harness.errors import UserError
from reports import render_benchmarks
from tests.pages import write_page

pytest_plugins = ["pytester"]

SUITE = """
def right(pixels):
    data = pixels.tobytes()
    return data[: data.index(0)].decode()

def wrong(pixels):
    return "#" + right(pixels)[1:]  # one character of twenty

def test_ocr(ocr_gate):
    cer = ocr_gate({function}, data="pages", max_cer={max_cer})
    assert cer == {cer}
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The folder of a user's test suite, with ten pages of twenty characters."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2])]))
    for number in range(10):
        write_page(pytester.path / "pages", f"p{number}", f"twenty characters {number:02d}")
    return pytester


def outcomes(suite: pytest.Pytester, *arguments: str, **filled: object) -> pytest.RunResult:
    suite.makepyfile(SUITE.format(**{"function": "right", "max_cer": 0, "cer": 0, **filled}))
    return suite.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_code_that_reads_as_well_as_it_must_passes(suite: pytest.Pytester) -> None:
    outcomes(suite).assert_outcomes(passed=1)
    outcomes(suite, function="wrong", max_cer=0.05, cer=0.05).assert_outcomes(passed=1)


def test_code_that_reads_worse_fails_with_both_figures(suite: pytest.Pytester) -> None:
    result = outcomes(suite, function="wrong", max_cer=0.049)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*CER 0.0500 is above 0.049 on 10 pages of pages*"])


def test_accuracy_gates_where_benchmarks_are_switched_off_too(suite: pytest.Pytester) -> None:
    outcomes(suite, "--benchmark-disable").assert_outcomes(passed=1)
    outcomes(suite, "--benchmark-disable", function="wrong").assert_outcomes(failed=1)


def test_pages_without_ground_truth_cannot_gate(suite: pytest.Pytester) -> None:
    for text in (suite.path / "pages").glob("*.txt"):
        text.unlink()
    result = outcomes(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*pages has no page with ground truth*"])


def test_figures_reach_the_json_and_its_page(suite: pytest.Pytester) -> None:
    outcomes(suite, "--benchmark-json=bench.json", function="wrong", max_cer=1, cer=0.05).assert_outcomes(
        passed=1
    )
    (case,) = read_benchmarks(suite.path / "bench.json")
    written = json.loads((suite.path / "bench.json").read_text())["benchmarks"][0]
    assert case.fullname.endswith("::test_ocr")
    assert (case.extra["pages"], case.extra["cer"]) == (10, 0.05)
    assert case.extra["pages_per_second"] == pytest.approx(10 / written["stats"]["median"])
    page = render_benchmarks("bench.json", [case])
    assert f"{1000 * case.median_s:.3f}" in page
    assert "cer 0.05" in page


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read .*No such file"),
        (b"\xff\xfe", "not JSON"),
        (b'{"benchmarks": 3}', r"\(benchmarks: "),
        (b'{"benchmarks": [{"fullname": "a", "stats": {"median": "x", "iqr": 0, "rounds": 1}}]}', "median"),
    ],
)
def test_a_file_that_is_not_of_pytest_benchmark_is_refused(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bench.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_benchmarks(path)


def test_names_in_the_file_cannot_become_markup(tmp_path: Path) -> None:
    name = "a.py::test[<script>alert(1)</script>]"
    stats = {"median": 0.001, "iqr": 0.0, "rounds": 3}
    cases = [{"fullname": name, "stats": stats, "extra_info": {"<b>": "</td>"}}]
    (tmp_path / "bench.json").write_text(json.dumps({"benchmarks": cases}))
    page = render_benchmarks("<i>", read_benchmarks(tmp_path / "bench.json"))
    assert "<script>alert" not in page
    assert "<b> </td>" not in page
    assert "&lt;script&gt;alert(1)" in page
