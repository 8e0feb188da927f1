"""Accuracy: by data set with intervals, and the pages that were read worst."""

import base64
from collections.abc import Iterator, Sequence

from harness.accuracy.bootstrap import cer_increase, cer_interval
from harness.accuracy.diff import Change, opcodes
from harness.accuracy.scores import PageScore, by_set, summarise
from reports.blocks import Block, PageDifference, Piece, Prose, Row, Table, num, text
from reports.view import Run, shared
from reports.words import count, percent, percent_range, points, points_range

_WORST_PAGES = 6
_MOST_CHARACTERS = 3000
_CONTEXT = 60
_LARGEST_IMAGE = 400_000
_IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


def sets(run: Run) -> Sequence[Block]:
    """Error rates by data set on the pages that baseline and best both read."""
    scores = {side: list(trial.scores) for side, trial in run.sides.items()}
    if len(scores) == 2:
        scores["baseline"], scores["best"] = shared(scores["baseline"], scores["best"])
    scores = {side: found for side, found in scores.items() if any(score.has_reference for score in found)}
    if not scores:
        return []
    error = run.error_name
    columns = [text("Set"), num("Pages")]
    for side in scores:
        columns += [
            num(f"{error} {side}"),
            num("95 % interval"),
            num(f"{'word drift' if run.drift else 'WER'} {side}"),
        ]
    if len(scores) == 2:
        columns += [num("Change, points"), num("95 % interval")]
    groups = {side: by_set(found) for side, found in scores.items()}
    names = list(next(iter(groups.values())))
    rows = [_set_row(name, [list(group[name].scores) for group in groups.values()]) for name in names]
    if len(names) > 1:
        rows.append(_set_row("all sets", list(scores.values())))
    blocks: list[Block] = [Table(f"{error} of characters and of words, on {run.pages_named}", columns, rows)]
    if run.drift:
        blocks.append(
            Prose("There is no ground truth: drift is the distance to what the baseline itself read.")
        )
    return blocks


def worst(run: Run) -> Sequence[Block]:
    """The pages with the highest error rate of the best variant, with where its text departs."""
    if not run.sides:
        return []
    side, trial = list(run.sides.items())[-1]
    misread = [score for score in trial.scores if score.has_reference and score.characters.errors]
    misread.sort(key=lambda score: (-score.characters.rate, score.page_id))
    if not misread:
        return []
    what = "the baseline's output" if run.drift else "the reference"
    marks = f"Struck through: only in {what}. Underlined: only in the output."
    intro = f"The {run.pages_named}, as read by {side}. {marks}"
    return [Prose(intro), *(_difference(run, score) for score in misread[:_WORST_PAGES])]


def _set_row(name: str, sides: Sequence[Sequence[PageScore]]) -> Row:
    cells = [name, str(len(sides[0]))]
    if not any(score.has_reference for score in sides[0]):
        return Row([*cells, *["blank"] * (3 * len(sides) + 2 * (len(sides) == 2))])
    for scores in sides:
        interval = cer_interval(scores)
        cells += [percent(interval.value), percent_range(interval), percent(summarise(scores).wer)]
    if len(sides) == 2:
        increase = cer_increase(*sides)
        cells += [points(increase.value), points_range(increase)]
    return Row(cells)


def _difference(run: Run, score: PageScore) -> PageDifference:
    reference = run.references[score.page_id]
    rates = []
    for side, trial in run.sides.items():
        found = next((other for other in trial.scores if other.page_id == score.page_id), None)
        if found:
            rates.append(f"{percent(found.characters.rate)} {side}")
    record = list(run.sides.values())[-1].records[score.page_id]
    edits = score.characters
    counts = f"{edits.substitutions} replaced, {edits.deletions} missing, {edits.insertions} added"
    size = count(edits.reference_length, "character")
    failed = f"; the engine failed here: {record.error}" if record.error else ""
    pieces = list(_pieces(opcodes(reference.text, record.text, reference.profile)))
    shown, cut = _cut(pieces)
    return PageDifference(
        title=f"{score.set} / {score.page_id}",
        note=f"{run.error_name} {', '.join(rates)}; {counts} of {size}{failed}",
        image=image_uri(run.thumbnail(reference)),
        pieces=shown,
        cut=cut,
    )


def _pieces(changes: Sequence[Change]) -> Iterator[Piece]:
    """The difference as runs of characters; long stretches that agree keep their ends."""
    for change in changes:
        if change.kind == "equal":
            same = change.reference
            if len(same) > 3 * _CONTEXT:
                head, tail = same[:_CONTEXT].rsplit(" ", 1)[0], same[-_CONTEXT:].split(" ", 1)[-1]
                same = f"{head} … {tail}"
            yield Piece("same", same)
            continue
        if change.reference:
            yield Piece("missing", change.reference.replace("\n", "⏎\n"))
        if change.hypothesis:
            yield Piece("added", change.hypothesis.replace("\n", "⏎\n"))


def _cut(pieces: Sequence[Piece]) -> tuple[list[Piece], int]:
    """The pieces up to `_MOST_CHARACTERS`, and how many characters are left out."""
    shown: list[Piece] = []
    room = _MOST_CHARACTERS
    for piece in pieces:
        if room > 0:
            shown.append(Piece(piece.kind, piece.text[:room]))
        room -= len(piece.text)
    return shown, max(0, -room)


def image_uri(image: bytes | None) -> str | None:
    """A PNG or JPEG as a data URI; None where it is neither or too large for the page."""
    kind = next((kind for magic, kind in _IMAGE_TYPES.items() if image and image.startswith(magic)), None)
    if image is None or kind is None or len(image) > _LARGEST_IMAGE:
        return None
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"
