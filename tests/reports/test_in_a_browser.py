"""The page in headless Chromium, in frames of the widths of a phone, a laptop and a large screen."""

import html
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import reports
from harness.values import Study
from tests.reports.test_hostile_text import hostile_study
from tests.reports.test_poor_studies import only_failures, small

WIDTHS = (390, 1280, 1920)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    *("--virtual-time-budget=5000", "--dump-dom"),
)
PROBE = """
<!DOCTYPE html><title>probe</title>{frames}<pre id="result"></pre>
<script>
addEventListener("load", () => {{
  const measured = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    const scrolls = element => element.closest(".scroll, pre, .difference");
    const out = [...page.body.querySelectorAll("*")].filter(element =>
      !scrolls(element) && element.getBoundingClientRect().right > root.clientWidth + 1);
    return {{
      width: frame.clientWidth, client: root.clientWidth, scroll: root.scrollWidth,
      overflowing: out.map(element => element.outerHTML.slice(0, 200)),
      line_px: parseFloat(getComputedStyle(page.querySelector(".line")).fontSize),
      sections: page.querySelectorAll("main > section").length,
      flat: [...page.querySelectorAll("svg")].filter(svg => svg.getBoundingClientRect().height < 100).length,
    }};
  }});
  document.getElementById("result").textContent = JSON.stringify(measured);
}});
</script>
"""


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        assert "CI" not in os.environ, "no browser: install chromium"
        pytest.skip("no browser: install chromium to see the page rendered")
    return found


STUDIES: dict[str, Callable[[], list[Study]]] = {
    "one run": lambda: [small()],
    "two runs": lambda: [small(), replace(small(), id="other")],
    "hostile": lambda: [hostile_study()],
    "failures": lambda: [only_failures()],
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_page_fits_every_width_without_a_complaint(name: str, tmp_path: Path) -> None:
    page = html.escape(reports.render(STUDIES[name]()))
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{page}"></iframe>' for width in WIDTHS
    )
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(frames=frames), "utf-8")
    command = [chromium(), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", probe.as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert not re.findall(r".*CONSOLE.*", run.stderr)
    result = re.search(r'<pre id="result">(.*?)</pre>', run.stdout, re.DOTALL)
    assert result
    measured = json.loads(html.unescape(result.group(1)))
    assert [frame["width"] for frame in measured] == list(WIDTHS)
    for frame in measured:
        assert frame["scroll"] <= frame["client"], frame
        assert not frame["overflowing"], frame["overflowing"]
        assert frame["sections"] >= 3
        assert frame["line_px"] >= 26
        assert frame["flat"] == 0
