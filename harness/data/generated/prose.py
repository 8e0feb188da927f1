"""Pages of running text: letters and two-column articles."""

from PIL import Image

from harness.data.generated.canvas import Align, Canvas, Style, wrap
from harness.data.generated.content import Writer

A4_MM = (210.0, 297.0)


def letter(style: Style, writer: Writer) -> Canvas:
    """A business letter: letterhead, addressee, subject, paragraphs, signature."""
    rng = writer.rng
    page = Canvas(style, *A4_MM, margin_mm=rng.uniform(20, 26))
    align: Align = rng.choice(("left", "middle", "right"))
    page.line(writer.company(), style.font(1.7, "bold"), align, ink=style.accent)
    page.line(f"{writer.street()}, {writer.place()}", style.font(0.85), align)
    page.line(f"Tel. {writer.phone()}   {writer.email()}", style.font(0.85), align)
    page.skip(2)
    page.rule(thickness_mm=rng.choice((0.3, 0.8)))
    page.skip(10)
    page.line(writer.date(), align="left" if rng.random() < 0.5 else "right")
    page.skip(8)
    recipient = writer.person()
    for text in (recipient, writer.company(), writer.street(), writer.place()):
        page.line(text)
    page.skip(9)
    page.line(f"Re: {writer.headline()}, our reference {writer.code()}", style.font(1, "bold"))
    page.skip(4)
    page.line(f"Dear {recipient},")
    page.skip(3)
    closing = style.px(58)
    for _ in range(rng.randint(3, 7)):
        if not page.room(closing + style.px(25)):
            break
        page.paragraph(writer.letter_paragraph())
        page.skip(3)
    page.skip(2)
    page.line(rng.choice(("Yours sincerely,", "Kind regards,", "Sincerely,")))
    page.skip(2)
    page.scribble(rng, 42)
    page.skip(3)
    page.line(writer.person())
    page.line(writer.job(), style.font(0.9, "italic"))
    if rng.random() < 0.5:
        page.skip(4)
        page.line(f"Enclosures: {writer.small()}", style.font(0.85))
    return page


def article(style: Style, writer: Writer) -> Canvas:
    """A magazine page: headline, byline, two justified columns, in one of them a picture with caption."""
    rng = writer.rng
    page = Canvas(style, *A4_MM, margin_mm=rng.uniform(16, 20))
    page.line(f"{writer.month()} {writer.year()}", style.font(0.8), "right")
    page.rule()
    page.skip(5)
    head = style.font(rng.uniform(2.0, 2.6), "bold")
    for words in wrap(writer.headline(), head, page.right - page.left):
        page.line(" ".join(words), head, leading=1.2)
    page.skip(2)
    page.line(f"By {writer.person()}, {writer.city()}", style.font(1, "italic"))
    page.skip(5)
    gap = style.px(8)
    width = (page.right - page.left - gap) / 2
    top, pictured = page.y, rng.randrange(2)
    for column in range(2):
        page.y = top
        _column(page, writer, page.left + column * (width + gap), width, picture=column == pictured)
    page.y = page.bottom + style.px(3)
    page.line(str(rng.randint(2, 180)), style.font(0.8), "middle")
    return page


def _column(page: Canvas, writer: Writer, left: float, width: float, *, picture: bool) -> None:
    style, rng, leading = page.style, writer.rng, 1.3
    face, heading = style.font(), style.font(1.1, "bold")
    paragraphs = 0
    while page.room(face.size * leading * 6):
        if picture and paragraphs == 2 and page.room(style.px(75)):
            _picture(page, writer, left, width)
        if paragraphs and rng.random() < 0.25:
            page.skip(2)
            page.text_at(left, page.y + heading.size, writer.headline(), heading)
            page.y += round(heading.size * 1.5)
        lines = wrap(writer.article_paragraph(), face, width)
        fitting = int((page.bottom - page.y) // round(face.size * leading))
        page.justified(lines[:fitting], left, width, leading)
        page.skip(1.5)
        paragraphs += 1


def _picture(page: Canvas, writer: Writer, left: float, width: float) -> None:
    height, face = page.style.px(50), page.style.font(0.8, "italic")
    sky = Image.linear_gradient("L").rotate(writer.rng.choice((0, 90, 180))).resize((round(width), height))
    page.skip(2)
    page.image.paste(sky.point([90 + value // 2 for value in range(256)]), (round(left), page.y))
    hill = (left + width * 0.2, page.y + height * 0.3, left + width * 0.5, page.y + height)
    page.draw.ellipse(hill, (70, 75, 80))
    page.y += height + page.style.px(1)
    caption = f"{writer.city()} in {writer.year()}. Photo: {writer.person()}"
    for words in wrap(caption, face, width):
        page.text_at(left, page.y + face.size, " ".join(words), face)
        page.y += round(face.size * 1.3)
    page.skip(2)
