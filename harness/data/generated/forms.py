"""Pages of rows and fields: invoices, receipts, forms and tables. Each row is read from left to right."""

from collections.abc import Sequence
from itertools import pairwise

from harness.data.generated.canvas import BLACK, Canvas, Colour, Style
from harness.data.generated.content import Writer
from harness.data.generated.fonts import MONO
from harness.data.generated.prose import A4_MM

_GRID: Colour = (120, 120, 120)
_WHITE: Colour = (255, 255, 255)
_PURPOSES = ("Residence Permit", "Building Licence", "Membership", "Health Insurance")


def invoice(style: Style, writer: Writer) -> Canvas:
    """An invoice: sender, numbers, customer, items, totals, terms."""
    rng = writer.rng
    page = Canvas(style, *A4_MM, margin_mm=rng.uniform(18, 24))
    page.line(writer.company(), style.font(1.6, "bold"), ink=style.accent)
    page.line(f"{writer.street()}, {writer.place()}", style.font(0.85))
    page.skip(6)
    page.line("INVOICE", style.font(2.2, "bold"), "right")
    page.skip(3)
    values = (writer.code(), writer.date(), writer.date(), writer.small())
    for label, value in zip(("Invoice No.:", "Date:", "Payment due:", "Customer ID:"), values, strict=True):
        page.row([(page.left, label, "left"), (page.left + style.px(42), value, "left")])
    page.skip(6)
    page.line("Bill to", style.font(1, "bold"), ink=style.accent)
    for text in (writer.person(), writer.company(), writer.street(), writer.place()):
        page.line(text)
    page.skip(8)
    edges = [*(page.left + style.px(column) for column in (0, 88, 112, 142)), page.right]
    _header(page, edges, ("Description", "Qty", "Unit price", "Amount"))
    total = 0.0
    for _ in range(rng.randint(7, 16)):
        quantity, price = rng.randint(1, 40), round(rng.uniform(2, 400), 2)
        total += quantity * price
        item = f"{writer.item()} {writer.code()}"
        _table_row(page, edges, (item, str(quantity), f"{price:,.2f}", f"{quantity * price:,.2f}"))
    page.skip(3)
    _totals(page, edges[2], page.right - style.px(2), total, 0.19)
    page.skip(6)
    account = f"Please pay within {writer.small()} days to account {rng.randrange(10**9, 10**10)}."
    page.paragraph(f"{account} {writer.letter_paragraph()}", face=style.font(0.85))
    return page


def receipt(style: Style, writer: Writer) -> Canvas:
    """A shop's till receipt, 80 mm wide and as long as it needs to be."""
    rng = writer.rng
    page = Canvas(style, 80, 300, margin_mm=6)
    page.line(writer.company().upper(), style.font(1.15, "bold"), "middle")
    for text in (writer.street(), writer.place(), f"Tel: {writer.phone()}"):
        page.line(text, style.font(0.9), "middle")
    page.skip(3)
    _ends(page, writer.short_date(), writer.time())
    _ends(page, f"Receipt #{rng.randrange(10**5):05}", f"Till {writer.small()}")
    _dashes(page)
    total = 0.0
    for _ in range(rng.randint(6, 18)):
        price = round(rng.uniform(0.5, 30), 2)
        total += price
        _ends(page, f"{rng.randint(1, 6)} {writer.grocery()}", f"{price:.2f}")
    _dashes(page)
    _totals(page, page.left, page.right, total, 0.07)
    page.skip(2)
    _ends(page, rng.choice(("VISA", "Mastercard", "Debit")), f"**** {rng.randrange(10**4):04}")
    page.skip(3)
    page.line("Thank you for shopping with us!", style.font(0.95), "middle")
    page.skip(3)
    _barcode(page, writer)
    page.cut()
    return page


def form(style: Style, writer: Writer) -> Canvas:
    """An application form: numbered sections with boxed fields, filled in on a typewriter."""
    rng = writer.rng
    page = Canvas(style, *A4_MM, margin_mm=rng.uniform(16, 20))
    page.line(f"Application for {rng.choice(_PURPOSES)}", style.font(1.6, "bold"))
    page.line(f"Form {writer.code()}   Please complete in block letters", style.font(0.8, "italic"))
    page.skip(5)
    sections = {
        "1. Applicant": (
            (("Last name", writer.last_name), ("First name", writer.first_name)),
            (("Date of birth", writer.short_date), ("Place of birth", writer.city)),
            (("Street", writer.street),),
            (("City and code", writer.place), ("Telephone", writer.phone)),
        ),
        "2. Employment": (
            (("Employer", writer.company),),
            (("Profession", writer.job), ("Since", writer.short_date)),
            (("Income per year", writer.money), ("Other income", writer.money)),
        ),
        "3. Purpose": (
            (("Reference", writer.code), ("Amount", writer.money)),
            (("Responsible person", writer.person),),
            (("E-mail", writer.email),),
        ),
    }
    for title, rows in sections.items():
        page.skip(3)
        _band(page, title)
        for fields in rows:
            _fields(page, [(label, draw()) for label, draw in fields])
    page.skip(6)
    page.paragraph(f"I declare that the above information is true and complete. {writer.letter_paragraph()}")
    page.skip(8)
    page.scribble(rng, 40)
    page.rule(thickness_mm=0.2, ink=_GRID)
    page.skip(1)
    date, small = f"Date {writer.date()}", style.font(0.8)
    page.row([(page.left, "Signature of applicant", "left"), (page.right, date, "right")], small)
    return page


def table(style: Style, writer: Writer) -> Canvas:
    """A report's table: caption, ruled grid of names and numbers, notes."""
    rng = writer.rng
    page = Canvas(style, *A4_MM, margin_mm=rng.uniform(16, 20))
    page.line(f"Table {rng.randint(1, 30)}. {writer.headline()}", style.font(1.3, "bold"))
    page.skip(2)
    page.paragraph(writer.article_paragraph())
    page.skip(4)
    columns, year = rng.randint(3, 5), rng.randint(1990, 2015)
    width = page.right - page.left
    names = 0.34 * width
    edges = [page.left, *(page.left + names + (width - names) * n / columns for n in range(columns + 1))]
    _header(page, edges, ("Region", *(str(year + n) for n in range(columns - 1)), "Change"))
    for _ in range(rng.randint(14, 30)):
        figures = [writer.count() for _ in range(columns - 1)]
        _table_row(page, edges, (writer.city(), *figures, f"{rng.uniform(-20, 40):+.1f}%"))
    page.skip(3)
    page.line(f"Source: {writer.company()}, {writer.year()}.", style.font(0.8, "italic"))
    page.skip(4)
    page.paragraph(writer.article_paragraph())
    return page


def _header(page: Canvas, edges: Sequence[float], texts: Sequence[str]) -> None:
    page.draw.rectangle((edges[0], page.y, edges[-1], page.y + _row_height(page)), page.style.accent)
    _cells(page, edges, texts, bold=True, ink=_WHITE)


def _table_row(page: Canvas, edges: Sequence[float], texts: Sequence[str]) -> None:
    for left, right in pairwise(edges):
        page.draw.rectangle((left, page.y, right, page.y + _row_height(page)), outline=_GRID)
    _cells(page, edges, texts, bold=False, ink=BLACK)


def _row_height(page: Canvas) -> int:
    return round(page.style.font().size * 1.6)


def _cells(page: Canvas, edges: Sequence[float], texts: Sequence[str], *, bold: bool, ink: Colour) -> None:
    """The first cell from its left edge, the others, which are numbers, from their right."""
    face = page.style.font(0.95, "bold" if bold else "regular")
    inset, baseline = page.style.px(1.5), page.y + _row_height(page) * 0.5 + face.size * 0.36
    page.text_at(edges[0] + inset, baseline, texts[0], face, ink=ink)
    for right, text in zip(edges[2:], texts[1:], strict=True):
        page.text_at(right - inset, baseline, text, face, align="right", ink=ink)
    page.y += _row_height(page)


def _totals(page: Canvas, left: float, right: float, total: float, rate: float) -> None:
    tax, bold = total * rate, page.style.font(1.2, "bold")
    page.row([(left, "Subtotal", "left"), (right, f"{total:,.2f}", "right")])
    page.row([(left, f"Tax {rate:.0%}", "left"), (right, f"{tax:,.2f}", "right")])
    page.row([(left, "Total due", "left"), (right, f"${total + tax:,.2f}", "right")], bold)


def _ends(page: Canvas, first: str, last: str) -> None:
    """A row with one text at either margin."""
    page.row([(page.left, first, "left"), (page.right, last, "right")])


def _band(page: Canvas, title: str) -> None:
    face = page.style.font(1, "bold")
    height = round(face.size * 1.5)
    page.draw.rectangle((page.left, page.y, page.right, page.y + height), page.style.accent)
    page.text_at(page.left + page.style.px(2), page.y + face.size * 1.1, title, face, ink=_WHITE)
    page.y += height + page.style.px(2)


def _fields(page: Canvas, fields: Sequence[tuple[str, str]]) -> None:
    """Boxes side by side, each a label in small print above a typed value; labels are read first."""
    small, typed = page.style.font(0.75), page.style.font(1, family=MONO)
    height, inset = page.style.px(4) + round(typed.size * 1.9), page.style.px(1.5)
    width = (page.right - page.left) / len(fields)
    for number, (label, _) in enumerate(fields):
        left = page.left + number * width
        page.draw.rectangle((left, page.y, left + width, page.y + height), outline=_GRID)
        page.text_at(left + inset, page.y + small.size + inset / 2, label, small)
    for number, (_, value) in enumerate(fields):
        while typed.getlength(value) > width - 2 * inset:
            value = value[:-1].rstrip()  # noqa: PLW2901 - as one runs out of room on a typewriter
        left = page.left + number * width + inset
        page.text_at(left, page.y + height - inset - typed.size * 0.2, value, typed)
    page.y += height


def _dashes(page: Canvas) -> None:
    step = page.style.px(2)
    page.skip(1.5)
    for x in range(page.left, page.right - step // 2, step):
        page.draw.line((x, page.y, x + step // 2, page.y), BLACK, max(1, step // 10))
    page.skip(1.5)


def _barcode(page: Canvas, writer: Writer) -> None:
    x, unit, height = float(page.left + page.style.px(8)), page.style.dpi / 100, page.style.px(11)
    while x < page.right - page.style.px(8):
        bar = writer.rng.choice((1, 1, 2, 3)) * unit
        page.draw.rectangle((x, page.y, x + bar - 1, page.y + height), BLACK)
        x += bar + writer.rng.choice((1, 2, 3)) * unit
    page.y += height
