"""A check's result for other programs: JSON, JUnit XML, Markdown, GitHub annotations. Pure."""

import math
import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from harness.check.verdicts import Finding, Outcome

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_KNOWN = 100.0
"""A bound beyond a hundredfold says that there is none, as after two rounds."""
_MARKS = {Outcome.PASS: "✅", Outcome.REGRESSION: "❌", Outcome.INCONCLUSIVE: "❔"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found."""

    outcome: Outcome
    findings: tuple[Finding, ...]
    baseline: str
    """Config and build of the baseline, for people."""
    current: str
    pages: int
    rounds: int
    seconds: float
    machine: str
    fingerprint: str
    cautions: tuple[str, ...] = ()
    failure: str | None = None
    """Set where one side could not be measured."""


def sentence(finding: Finding) -> str:
    """One metric in a line: both sides, by how much it is worse with its interval, and what is allowed."""
    return (
        f"{finding.name}: {finding.baseline:.4g} -> {finding.current:.4g} {finding.unit}, "
        f"worse by {_amount(finding, finding.worse.value)} "
        f"({_amount(finding, finding.worse.low)} to {_amount(finding, finding.worse.high)}; "
        f"allowed {_amount(finding, finding.tolerance)})"
    )


def _amount(finding: Finding, value: float) -> str:
    if finding.name == "failed_pages":
        return f"{value:g}"
    if not abs(value) < _KNOWN:
        return "unknown"
    # The worsening of an error rate is a difference, all else is a share.
    return f"{100 * value:+.2f} {'points' if finding.unit == 'ratio' else '%'}"


def document(result: CheckResult) -> dict[str, Any]:
    """The document that `--json` prints."""
    return {
        "outcome": result.outcome,
        "failure": result.failure,
        "baseline": result.baseline,
        "current": result.current,
        "pages": result.pages,
        "rounds": result.rounds,
        "seconds": round(result.seconds, 1),
        "machine": result.machine,
        "fingerprint": result.fingerprint,
        "cautions": list(result.cautions),
        "metrics": {
            finding.name: {
                "unit": finding.unit,
                "baseline": finding.baseline,
                "current": finding.current,
                "worse": finding.worse.value,
                "ci95": [
                    bound if math.isfinite(bound) else None
                    for bound in (finding.worse.low, finding.worse.high)
                ],
                "tolerance": finding.tolerance,
                "p": finding.p,
                "outcome": finding.outcome,
            }
            for finding in result.findings
        },
    }


def junit(result: CheckResult) -> str:
    """JUnit XML: one test case a metric; a regression is a failure, an inconclusive metric is skipped."""
    suite = ET.Element("testsuite", name="tune check", time=f"{result.seconds:.3f}")
    for finding in result.findings:
        case = ET.SubElement(suite, "testcase", classname="tune.check", name=_xml(finding.name))
        if finding.outcome is Outcome.REGRESSION:
            ET.SubElement(case, "failure", message=_xml(sentence(finding)))
        elif finding.outcome is Outcome.INCONCLUSIVE:
            ET.SubElement(case, "skipped", message=_xml(f"inconclusive: {sentence(finding)}"))
    if result.failure:
        case = ET.SubElement(suite, "testcase", classname="tune.check", name="measurement")
        ET.SubElement(case, "failure", message=_xml(result.failure))
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    suite.set("errors", "0")
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def markdown(result: CheckResult) -> str:
    """A summary for a pull request or a job's page."""
    lines = [
        f"### {_MARKS[result.outcome]} tune check: {result.outcome}",
        "",
        f"{_cell(result.baseline)} beside {_cell(result.current)}, {result.pages} pages, {result.rounds} rounds, "
        f"{result.seconds:.0f} s, on {_cell(result.machine)}",
        "",
    ]
    if result.failure:
        lines += [f"**{_cell(result.failure)}**", ""]
    if result.findings:
        lines += [
            "| | metric | baseline | current | worse by | 95 % interval | allowed |",
            "|---|---|--:|--:|--:|--:|--:|",
        ]
        lines += [
            f"| {_MARKS[f.outcome]} | {_cell(f.name)} | {f.baseline:.4g} | {f.current:.4g} "
            f"| {_amount(f, f.worse.value)} | {_amount(f, f.worse.low)} to {_amount(f, f.worse.high)} "
            f"| {_amount(f, f.tolerance)} |"
            for f in result.findings
        ]
    lines += ["", *(f"- {_cell(caution)}" for caution in result.cautions)]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(re.sub(r"([\\`*_\[\]|])", r"\\\1", escaped).split())


def annotations(result: CheckResult) -> str:
    """GitHub workflow commands: an error a regression, a warning an inconclusive metric or a caution."""
    found = [("error", "measurement", result.failure)] if result.failure else []
    for finding in result.findings:
        if finding.outcome is Outcome.REGRESSION:
            found.append(("error", finding.name, sentence(finding)))
        elif finding.outcome is Outcome.INCONCLUSIVE:
            found.append(("warning", finding.name, f"inconclusive: {sentence(finding)}"))
    found += [("warning", "caution", caution) for caution in result.cautions]
    return "".join(
        f"::{level} title=tune check {_property(title)}::{_command(text)}\n" for level, title, text in found
    )


def _command(text: str) -> str:
    """Escaped as the runner's own toolkit does it, so that no text can start another command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _command(text).replace(":", "%3A").replace(",", "%2C")
