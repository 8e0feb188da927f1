import base64
import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median_low

import jiwer
import pytest

import reports
from harness.values import Interval, Measurement, ReferencePage, Study, Variant
from reports.sections import SECTIONS
from tests.reports import factory
from tests.reports.html import Element, sound

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def study() -> Study:
    return factory.study()


@pytest.fixture(scope="module")
def page(study: Study) -> Element:
    return sound(reports.render([study], run_dirs=[Path("runs/my run")], profiles=["profile/index.html"]))


def section(page: Element, name: str) -> Element:
    found = page.by_id(name)
    assert found is not None, f"no section {name}"
    return found


def confirmed(study: Study, variant: Variant) -> Measurement:
    outcome = next(t.outcome for t in study.trials if t.phase == "confirm" and t.variant == variant)
    assert isinstance(outcome, Measurement)
    return outcome


def throughput(measurement: Measurement) -> float:
    return len(measurement.pages) / sum(block.wall_s for block in measurement.blocks)


def cer(study: Study, measurement: Measurement) -> float:
    """By jiwer, with whitespace runs as one space: profile `strict` of texts that are in NFC."""
    texts = {page.page_id: " ".join(page.text.split()) for page in study.references}
    read = [" ".join(page.text.split()) for page in measurement.pages]
    return jiwer.cer([texts[page.page_id] for page in measurement.pages], read)


def test_the_answer_comes_first_with_ratio_interval_rounds_and_unseen_pages(page: Element) -> None:
    first = page.find("section")[0]
    assert first.attributes["id"] == "answer"
    assert "4.20× as fast, with fewer errors" in first.text
    proof = "3.99× to 4.41× over 7 paired rounds on 12 pages that the search never saw"
    assert proof in first.text.replace("\xa0", " ")


def test_throughput_and_median_time_are_those_of_the_confirmation(page: Element, study: Study) -> None:
    before, after = (confirmed(study, variant) for variant in (factory.BASELINE, factory.BEST))
    text = section(page, "answer").text
    assert f"{throughput(before):.3f} → {throughput(after):.2f}" in text
    times = [1000 * median_low(page.seconds for page in side.pages) for side in (before, after)]
    assert f"{times[0]:,.0f} → {times[1]:.0f}" in text


def test_error_rates_of_the_page_agree_with_jiwer(page: Element, study: Study) -> None:
    before, after = (cer(study, confirmed(study, variant)) for variant in (factory.BASELINE, factory.BEST))
    text = section(page, "answer").text.replace("\xa0", " ")
    assert f"{before:.2%} → {after:.2%}".replace("%", " %") in text
    pooled = section(page, "sets").rows()[-1]
    assert pooled[:3] == ["all sets", "12", f"{before:.2%}".replace("%", "\xa0%")]
    assert f"{100 * (after - before):+.2f}".replace("-", "−") in pooled


def test_every_set_has_its_row_with_an_interval_around_its_rate(page: Element) -> None:
    rows = section(page, "sets").rows()
    assert {row[0] for row in rows} == {*factory.SETS, "all sets"}
    for row in rows:
        rate, interval = float(row[2].split()[0]), [float(end) for end in re.findall(r"[\d.]+", row[3])]
        assert interval[0] <= rate <= interval[1]


def test_settings_that_differ_are_listed_and_no_others(page: Element) -> None:
    rows = section(page, "settings").rows()
    assert {row[0]: row[1:] for row in rows}["det_side"] == ["960", "736"]
    assert {row[0]: row[1:] for row in rows}["classifier"] == ["true", "false"]
    assert {row[0] for row in rows} == set(factory.FAST)


def test_commands_name_the_config_of_the_run_folder_quoted_for_a_shell(page: Element) -> None:
    commands = section(page, "settings").find("pre")[0].text.splitlines()
    data = " --data letters --data receipts --data oldbooks"
    assert commands == [
        f"tune bench --config 'runs/my run/best.yaml'{data}",
        f"tune compare ppocr 'runs/my run/best.yaml'{data}",
        "tune export 'runs/my run/best.yaml' --to env",
    ]


def test_the_picture_has_one_mark_for_each_measured_trial_of_the_search(page: Element, study: Study) -> None:
    measured = [t for t in study.trials if t.phase != "confirm" and isinstance(t.outcome, Measurement)]
    rows = section(page, "pareto").rows()
    assert sorted(int(row[0]) for row in rows) == sorted(trial.number for trial in measured)
    by_number = {int(row[0]): row for row in rows}
    for trial in measured:
        assert isinstance(trial.outcome, Measurement)
        row = by_number[trial.number]
        assert float(row[2]) == pytest.approx(throughput(trial.outcome), rel=5e-3)
        assert float(row[4].split()[0]) == pytest.approx(100 * cer(study, trial.outcome), abs=5.1e-3)


def test_the_front_is_what_no_other_whole_trial_beats(page: Element) -> None:
    front, others = (table.rows() for table in section(page, "pareto").find("table"))
    whole = [row for row in front + others if row[1] != "dropped early"]
    points = [(float(row[2]), float(row[4].split()[0])) for row in whole]
    for row in front:
        speed, error = float(row[2]), float(row[4].split()[0])
        assert not any((s > speed and e <= error) or (s >= speed and e < error) for s, e in points)
    assert all(float(a[2]) >= float(b[2]) for a, b in pairwise(front))


def test_stage_times_are_means_over_the_pages_of_the_confirmation(page: Element, study: Study) -> None:
    rows = {row[0]: row[1:] for row in section(page, "stages").rows()}
    pages = confirmed(study, factory.BEST).pages
    expected = 1000 * sum(page.stage_s["recognise"] for page in pages) / len(pages)
    assert float(rows["recognise"][1]) == pytest.approx(expected, rel=5e-3)
    assert rows["all stages"][2] == rows["recognise"][2]


def test_counters_show_mean_and_peak_of_the_samples(page: Element, study: Study) -> None:
    baseline = study.trials[0].outcome
    assert isinstance(baseline, Measurement)
    memory = [sample.values["rss_mib"] for sample in baseline.samples]
    row = next(row for row in section(page, "counters").rows() if row[0] == "rss_mib")
    assert float(row[2].replace(",", "")) == pytest.approx(max(memory), rel=5e-4)
    assert "no NVIDIA driver on this machine" in section(page, "counters").text


def test_the_bottleneck_of_both_sides_is_said(page: Element) -> None:
    said = [paragraph.text for paragraph in section(page, "counters").find("p")]
    assert [text.partition(":")[0] for text in said[:2]] == ["Baseline", "Best"]


def test_every_failure_is_shown_with_its_message_and_its_last_words(page: Element, study: Study) -> None:
    failed = [trial for trial in study.trials if not isinstance(trial.outcome, Measurement)]
    rows = section(page, "failures").rows()
    assert [int(row[0]) for row in rows] == [trial.number for trial in failed]
    assert {row[1] for row in rows} == {"oom", "crash", "timeout", "unsupported", "invalid_output"}
    assert "RuntimeError: worker died with signal 11" in section(page, "failures").text


def test_worst_pages_are_those_with_the_highest_rate_worst_first(page: Element, study: Study) -> None:
    texts = {page.page_id: " ".join(page.text.split()) for page in study.references}
    rates = {
        record.page_id: jiwer.cer(texts[record.page_id], " ".join(record.text.split()))
        for record in confirmed(study, factory.BEST).pages
    }
    shown = [title.text.split(" / ")[1] for title in section(page, "worst").find("h3")]
    assert shown == sorted(rates, key=lambda name: -rates[name])[:6]


def test_a_difference_gives_back_reference_and_output(page: Element, study: Study) -> None:
    article = section(page, "worst").find("article")[-1]
    name = article.find("h3")[0].text.split(" / ")[1]
    difference = article.find("div")[-1]
    missing, added = ([piece.text for piece in difference.find(tag)] for tag in ("del", "ins"))
    reference = next(" ".join(p.text.split()) for p in study.references if p.page_id == name)
    output = next(" ".join(p.text.split()) for p in confirmed(study, factory.BEST).pages if p.page_id == name)
    assert all(text in reference for text in missing)
    assert all(text in output for text in added)
    edits = jiwer.process_characters(reference, output)
    assert sum(map(len, missing)) == edits.substitutions + edits.deletions
    assert sum(map(len, added)) == edits.substitutions + edits.insertions


def test_all_trials_are_in_the_table_and_the_files(page: Element, study: Study) -> None:
    trials = section(page, "trials")
    assert [int(row[0]) for row in trials.rows()] == [trial.number for trial in study.trials]
    links = {link.attributes["download"]: link.attributes["href"] for link in trials.find("a")}
    csv = base64.b64decode(links["trials.csv"].partition(",")[2]).decode()
    assert csv == reports.trials_csv(study)
    assert b'"verdict": "FASTER"' in base64.b64decode(links["run.json"].partition(",")[2])


def test_a_percentile_with_too_few_pages_for_it_is_left_out(page: Element) -> None:
    median, p95 = section(page, "trials").rows()[0][5:7]
    assert float(median.replace(",", "")) > 0
    assert p95 == "–"


def test_trials_that_read_fewer_pages_are_marked_and_never_on_the_front(page: Element, study: Study) -> None:
    dropped = {trial.number for trial in study.trials if trial.note.startswith("dropped")}
    assert {int(row[0]) for row in section(page, "pareto").rows() if row[1] == "dropped early"} == dropped
    front = section(page, "pareto").find("table")[0]
    assert not dropped & {int(row[0]) for row in front.rows()}


def test_every_registered_section_is_there_and_linked(page: Element) -> None:
    expected = [section.id for section in SECTIONS if section.id != "overview"]
    assert [section.attributes["id"] for section in page.find("section")] == expected
    assert [link.attributes["href"] for link in page.find("nav")[0].find("a")] == [
        f"#{name}" for name in expected
    ]


def test_several_runs_stand_side_by_side(study: Study) -> None:
    other = replace(study, engine="tesseract", fingerprint="other", best=None, comparisons=())
    page = sound(reports.render([study, other], run_dirs=[Path("runs/a"), Path("runs/b")]))
    rows = section(page, "overview").rows()
    assert [row[:2] for row in rows] == [["a", "ppocr"], ["b", "tesseract"]]
    assert "different machines" in section(page, "overview").text
    assert [label.text for label in section(page, "answer").find("h3")] == ["a", "b"]


def test_pictures_are_embedded_and_nothing_but_pictures(study: Study) -> None:
    asked: list[str] = []

    def thumbnail(reference: ReferencePage) -> bytes | None:
        asked.append(reference.page_id)
        return {0: PNG, 1: b"\xff\xd8\xff rest", 2: b"<svg onload=alert(1)>"}.get(len(asked) - 1)

    page = sound(reports.render([study], thumbnail=thumbnail))
    images = [image.attributes["src"] for image in page.find("img")]
    assert [image.partition(";")[0] for image in images] == ["data:image/png", "data:image/jpeg"]
    assert base64.b64decode(images[0].partition(",")[2]) == PNG
    assert len(asked) == len(set(asked)) == 6


def test_equal_studies_give_equal_bytes_in_another_process_too(study: Study) -> None:
    script = (
        "import hashlib, reports; from tests.reports import factory;"
        "print(hashlib.sha256(reports.render([factory.study()]).encode()).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])}
    other = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True)
    assert other.strip() == hashlib.sha256(reports.render([study]).encode()).hexdigest()


def test_two_hundred_trials_with_pictures_stay_under_five_megabytes() -> None:
    page = reports.render([factory.study(trials=200)], thumbnail=lambda _: PNG + bytes(399_000))
    assert len(page.encode()) < 5_000_000


def test_thousands_of_trials_do_not_swell_the_picture() -> None:
    study = factory.study(trials=1500, pages=4)
    assert sum(isinstance(trial.outcome, Measurement) for trial in study.trials) > 1200
    picture = section(sound(reports.render([study])), "pareto").find("svg")[0]
    assert 500 < len(picture.find("use")) < 1000


def test_a_picture_too_large_for_the_page_is_left_out(study: Study) -> None:
    assert not sound(reports.render([study], thumbnail=lambda _: PNG + bytes(900_000))).find("img")


def test_a_page_without_a_study_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one study"):
        reports.render([])


def test_a_preview_shows_pictures_and_ground_truth_of_a_data_set(study: Study) -> None:
    page = sound(reports.preview("<letters>", [(study.references[0], PNG), (study.references[1], None)], 70))
    assert page.find("h1")[0].text == "Data set <letters>"
    assert "The first 2 of 70." in page.text
    assert len(page.find("img")) == 1
    shown = [e.text.strip() for e in page.all() if e.attributes.get("class") == "difference"]
    assert shown == [reference.text for reference in study.references[:2]]


def test_text_and_marks_have_contrast_of_wcag_aa_in_both_modes() -> None:
    css = Path(reports.__file__).with_name("template.html.j2").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    )
    for mode in (light, dark):
        for surface in ("paper", "raised"):
            for text in ("ink", "muted", "best", "bad", "good"):
                assert _contrast(mode[text], mode[surface]) >= 4.5, (text, surface)
        for mark in ("baseline", "best", "bad"):
            assert _contrast(mode[mark], mode["paper"]) >= 3
        for surface in ("missing", "added"):
            assert _contrast(mode["ink"], mode[surface]) >= 4.5


def _contrast(a: str, b: str) -> float:
    """WCAG 2.2 contrast ratio of two colours."""
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_run_with_a_profile_links_to_it_and_one_without_has_no_such_section(study: Study) -> None:
    page = sound(reports.render([study], profiles=["../my%20run/profile/index.html"]))
    (link,) = section(page, "profile").find("a")
    assert link.attributes["href"] == "../my%20run/profile/index.html"
    assert "download" not in link.attributes
    assert sound(reports.render([study])).by_id("profile") is None


def test_a_finalist_that_was_refused_for_one_set_says_so() -> None:
    study = factory.study()
    sets = {"books": Interval(-0.02, -0.03, -0.01), "<slips>": Interval(0.02, 0.01, 0.03)}
    first, *others = study.comparisons
    page = reports.render([replace(study, comparisons=(replace(first, cer_increase_by_set=sets), *others))])
    assert "Finalist 1 was refused: it reads &lt;slips&gt; worse" in page
    assert "reads books worse" not in page
