"""The page in headless Chromium, at the widths of a phone, a laptop and a large screen, in light, dark and print."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import reports
from harness.check.benchmarks import Benchmark
from harness.check.history import History
from harness.check.verdicts import Outcome
from harness.values import Study
from tests.harness.check.test_history import night
from tests.reports import factory
from tests.reports.test_hostile_text import hostile_study
from tests.reports.test_page import PNG
from tests.reports.test_poor_studies import only_failures, small

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDTHS = (390, 1280, 1920)
MEASURE = """() => {
  const root = document.documentElement;
  const scrolls = element => element.closest(".scroll, pre, .difference, .skip, #answer-title");
  const out = [...document.body.querySelectorAll("*")].filter(element =>
    !scrolls(element) && element.getBoundingClientRect().right > root.clientWidth + 1);
  const line = document.querySelector(".line");
  return {
    client: root.clientWidth, scroll: root.scrollWidth,
    overflowing: out.map(element => element.outerHTML.slice(0, 200)),
    line_px: line && parseFloat(getComputedStyle(line).fontSize),
    sections: document.querySelectorAll("main > section").length,
    flat: [...document.querySelectorAll("svg")].filter(svg => svg.checkVisibility() &&
      svg.getBoundingClientRect().height < 50).length,
  };
}"""
# A caption or cell that is wider than its scrolling box is partly hidden, and axe then leaves its contrast open:
# with nothing scrolling, every text is seen.
UNSCROLLED = ".scroll, pre, .difference { overflow: visible !important; max-height: none !important }"


def missing() -> str | None:
    """What these tests need and is not installed."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return "no playwright: pip install axe-playwright-python"
    return None if chromium() else "no browser: install chromium"


def chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    if reason := missing():
        assert "CI" not in os.environ, reason
        pytest.skip(f"{reason}, to see the page rendered")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield running
        running.close()


STUDIES: dict[str, Callable[[], list[Study]]] = {
    "one run": lambda: [small()],
    "long run": lambda: [factory.study()],
    "two runs": lambda: [small(), replace(small(), id="other")],
    "hostile": lambda: [hostile_study()],
    "failures": lambda: [only_failures()],
}


def nights() -> str:
    """Two machines, a change that lasts, a regression, lines that were torn, names that are markup."""
    made = [
        night(number, 10 + 0.01 * (number % 3) - (number > 10), fingerprint)
        for fingerprint in ("abcdef0123", "0123456789")
        for number in range(25)
    ]
    bad = made[-1].metrics["throughput"].model_copy(update={"outcome": Outcome.REGRESSION})
    made[-1] = made[-1].model_copy(update={"outcome": Outcome.REGRESSION, "metrics": {"throughput": bad}})
    return reports.render_history(History(tuple(made), 3))


def benchmarks() -> str:
    facts: dict[str, str | float | bool | None] = {"pages": 23, "cer": 0.083, "note": "<b>" + "x" * 90}
    return reports.render_benchmarks(
        "bench.json", [Benchmark("a.py::" + "long_" * 20, 0.123, 0.004, 5, facts)]
    )


OTHERS = {"nights": nights, "benchmarks": benchmarks}


@cache
def rendered(name: str) -> str:
    return OTHERS[name]() if name in OTHERS else reports.render(STUDIES[name](), thumbnail=lambda _: PNG)


@pytest.fixture(params=[*STUDIES, *OTHERS])
def opened(request: pytest.FixtureRequest, browser: "Browser", tmp_path: Path) -> "Iterator[Page]":
    """A page of each kind, open. It must neither complain nor ask for anything but itself, whatever a test does."""
    path = tmp_path / "report.html"
    path.write_text(rendered(request.param), "utf-8")
    page = browser.new_page(bypass_csp=True)  # axe is run in the page, whose policy admits no script
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: requests.append(asked.url))
    page.goto(path.as_uri())
    yield page
    page.close()
    assert not complaints
    assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_fits_every_width(opened: "Page", width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 900})
    measured = opened.evaluate(MEASURE)
    assert measured["client"] == width
    assert measured["scroll"] <= width, measured
    assert not measured["overflowing"], measured["overflowing"]
    assert measured["sections"] >= 1
    assert measured["line_px"] is None or measured["line_px"] >= 26
    assert measured["flat"] == 0


def test_axe_finds_no_fault_of_contrast_names_or_structure(opened: "Page") -> None:
    opened.evaluate("document.querySelectorAll('details').forEach(element => element.open = true)")
    opened.add_style_tag(content=UNSCROLLED)
    opened.set_viewport_size({"width": 2600, "height": 1200})
    opened.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = opened.evaluate("axe.run()")
    assert not faults(found)
    passed = {check["id"] for check in found["passes"]}
    assert {"color-contrast", "document-title", "html-has-lang", "region"} <= passed
    opened.emulate_media(color_scheme="dark")
    found = opened.evaluate("axe.run({runOnly: ['color-contrast']})")
    assert not faults(found)
    assert found["passes"]


def faults(found: Any) -> list[tuple[str, str, str]]:
    """What axe calls a violation: its rule, the element, and how to mend it."""
    return [
        (fault["id"], node["html"][:200], node["failureSummary"])
        for fault in found["violations"]
        for node in fault["nodes"]
    ]


def test_print_is_dark_on_light_whole_and_without_what_paper_cannot_do(opened: "Page") -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    colours = opened.evaluate(
        "(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))"
    )
    assert colours == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert not opened.locator("nav").is_visible()
    clipped = opened.evaluate(
        "[...document.querySelectorAll('.difference')].filter(e => e.scrollHeight > e.clientHeight + 1).length"
    )
    assert clipped == 0
    for details in opened.locator("details").all():
        assert details.locator(":scope > :not(summary)").first.evaluate(
            "element => element.checkVisibility()"
        )


def test_the_checks_see_a_page_that_breaks_them(browser: "Browser") -> None:
    page = browser.new_page(viewport={"width": 390, "height": 900})
    page.set_content(
        "<p class=line style='width:900px;color:#ccc;background:#fff'>wide and pale</p><img src=''>"
    )
    measured = page.evaluate(MEASURE)
    assert measured["scroll"] > 390
    assert measured["overflowing"]
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found = {rule for rule, _, _ in faults(page.evaluate("axe.run()"))}
    assert {"color-contrast", "image-alt", "document-title"} <= found
    page.close()
