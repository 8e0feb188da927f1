"""Values in, one HTML page out: the report of studies, the preview of a data set."""

from collections.abc import Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from harness.phases.values import LadderResult
from harness.values import ReferencePage, Study
from reports.blocks import PageDifference, Panel, Piece
from reports.sections import SECTIONS, Section
from reports.sections.accuracy import image_uri
from reports.sections.ladder import LADDER_PARTS
from reports.view import Thumbnail, derive, no_picture
from reports.words import clean


def render(
    studies: Sequence[Study],
    *,
    run_dirs: Sequence[Path] = (),
    thumbnail: Thumbnail = no_picture,
    profiles: Sequence[str | None] = (),
) -> str:
    """The page as HTML text: self-contained, several runs side by side. Equal studies give equal text.

    `run_dirs` are the folders of the studies, in their order; they name the runs and the paths in commands.
    `thumbnail` gives a page's picture as PNG or JPEG bytes, or None; `profiles` are the addresses of the runs'
    profiles as seen from the page. Raises ValueError without a study.
    """
    if not studies:
        raise ValueError("a report needs at least one study")
    if len(run_dirs) not in (0, len(studies)):
        raise ValueError("a report needs one run folder a study, or none")
    runs = [
        derive(study, key=f"r{position}", folder=folder, thumbnail=thumbnail, profile=profile)
        for position, (study, folder, profile) in enumerate(zip_longest(studies, run_dirs, profiles), start=1)
    ]
    engines = ", ".join(dict.fromkeys(f"{study.engine} on {study.device}" for study in studies))
    return page(
        title=f"OCR tuning: {engines}",
        subtitle=", ".join(f"{run.label}, {run.study.created}" for run in runs),
        sections=[(section, section.build(runs)) for section in SECTIONS],
        several=len(runs) > 1,
    )


def render_phases(ladders: Sequence[LadderResult]) -> str:
    """The page of climbed ladders, claimed beside measured, as HTML text. Raises ValueError without one."""
    if not ladders:
        raise ValueError("a page needs at least one ladder")
    sections = [
        (
            Section(key, title, lambda _: [], lead),
            [
                Panel(f"{item.ladder}, {item.created}", blocks)
                for n, item in enumerate(ladders)
                if (blocks := build(item, f"l{n}"))
            ],
        )
        for key, title, lead, build in LADDER_PARTS
    ]
    names = ", ".join(dict.fromkeys(item.ladder for item in ladders))
    subtitle = ", ".join(f"{item.machine}, {item.created}" for item in ladders)
    return page(f"Phases: {names}", subtitle, sections, several=len(ladders) > 1)


def preview(name: str, pages: Sequence[tuple[ReferencePage, bytes | None]], total: int) -> str:
    """Pictures and ground truth of some `pages` of the `total` pages of data set `name`, as HTML text."""
    blocks = [
        PageDifference(
            title=shown.page_id,
            note=", ".join(part for part in (shown.set, shown.language, f"profile {shown.profile}") if part),
            image=image_uri(picture),
            pieces=[Piece("same", shown.text or "no ground truth")],
        )
        for shown, picture in pages
    ]
    section = Section("pages", "Pages", lambda _: [], f"The first {len(pages):,} of {total:,}.")
    return page(f"Data set {name}", "Pictures and ground truth", [(section, [Panel("", blocks)])])


def page(
    title: str, subtitle: str, sections: Sequence[tuple[Section, Sequence[Panel]]], *, several: bool = False
) -> str:
    """The HTML text of sections that are built; those without a panel are left out."""
    shown = [
        {"id": section.id, "title": section.title, "lead": section.lead, "panels": panels}
        for section, panels in sections
        if panels
    ]
    return _template().render(title=title, subtitle=subtitle, sections=shown, several=several)


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("reports", "."),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.j2")


def _finalize(value: object) -> Markup | str:
    """Markup of our own as it is; all else as cleaned text, which autoescape then escapes."""
    return value if isinstance(value, Markup) else clean(str(value))
