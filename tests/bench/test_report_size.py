"""How large the report is, and how long a browser takes to open it."""

import time
from pathlib import Path

import pytest

import reports
from tests.reports import factory
from tests.reports.test_in_a_browser import chromium, missing

pytestmark = pytest.mark.benchmark(group="report")


@pytest.mark.parametrize("trials", [200, 2000])
def test_size_and_opening_of_the_page(trials: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("benchmark_enable", default=False):
        pytest.skip("prints times: run `make bench`")
    if reason := missing():
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    study = factory.study(trials=trials)
    began = time.perf_counter()
    page = reports.render([study])
    rendered_s = time.perf_counter() - began
    path = tmp_path / "report.html"
    path.write_text(page, "utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page()
        began = time.perf_counter()
        tab.goto(path.as_uri(), wait_until="load")
        tab.screenshot()
        opened_s = time.perf_counter() - began
        browser.close()
    mib = path.stat().st_size / 2**20
    print(f"\n{trials} trials: {mib:.1f} MiB, written in {rendered_s:.1f} s, opened in {opened_s:.2f} s")
