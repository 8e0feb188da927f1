"""What a browser makes of a page, as far as tests ask: elements, attributes, text, tables."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "img", "br", "link", "input"}
_RAW = {"style", "script"}


@dataclass
class Element:
    """One element with all text within it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, tag: str) -> "list[Element]":
        """All elements of that name within, in document order."""
        found = [self] if self.tag == tag else []
        return found + [element for child in self.children for element in child.find(tag)]

    def by_id(self, name: str) -> "Element | None":
        """The element with that id."""
        if self.attributes.get("id") == name:
            return self
        return next((found for child in self.children if (found := child.by_id(name))), None)

    def all(self) -> "list[Element]":
        """This element and all within."""
        return [self] + [element for child in self.children for element in child.all()]

    def rows(self) -> list[list[str]]:
        """The body rows of the tables within, cell by cell."""
        bodies = [row for body in self.find("tbody") for row in body.find("tr")]
        return [[cell.text.strip() for cell in row.children] for row in bodies]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("#document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1].tag not in _RAW:
            for element in self.open:
                element.text += data


def parse(page: str) -> Element:
    """The document of `page`. Fails where tags are not balanced."""
    builder = _Builder()
    builder.feed(page)
    builder.close()
    assert builder.open == [builder.root], f"not closed: {[element.tag for element in builder.open[1:]]}"
    return builder.root


def sound(page: str) -> Element:
    """The document of `page`, after the checks that every page must pass."""
    document = parse(page)
    assert not re.search(r"url\((?!#)|@import", page), "a style loads something"
    elements = document.all()
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids)), "an id is used twice"
    assert len(document.find("h1")) == len(document.find("main")) == len(document.find("title")) == 1
    for element in elements:
        assert element.tag not in ("script", "link", "iframe", "object", "base", "form"), element.tag
        for name, value in element.attributes.items():
            assert not name.startswith("on"), f"{element.tag} {name}"
            if name in ("src", "href", "xlink:href", "srcset", "poster", "data", "action"):
                # A page beside this one is loaded when the reader asks for it.
                beside = element.tag == "a" and re.fullmatch(r"(\.\./)*[\w%./-]+\.html", value)
                assert beside or value.startswith(("#", "data:")), f"{element.tag} {name}={value[:60]}"
                assert not value.startswith("#") or value[1:] in ids, f"nothing is called {value}"
    for picture in document.find("svg"):
        assert picture.attributes["role"] == "img"
        assert picture.attributes["aria-label"]
    for figure in document.find("figure"):
        assert [caption.text.strip() for caption in figure.find("figcaption")] != [""]
    for table in document.find("table"):
        widths = {len(row.children) for row in table.find("tr")}
        assert len(widths) == 1, f"rows of unequal length in {table.find('caption')[0].text}"
    cells = {cell for row in document.rows() for cell in row}
    assert not cells & {"None", "nan", "inf", "NaN", "True", "False"}, cells
    return document
