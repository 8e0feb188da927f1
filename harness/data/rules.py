"""What is decided for a set whose manifest does not say it: profiles and documents. Pure."""

import re
from collections.abc import Iterable, Sequence

from harness.data.folder import SourcePage

_UPPER_SHARE = 0.7
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff]")
_HISTORIC = re.compile("[\u017f\ua75b\u0364]")
_PAGE_NUMBER = re.compile(r"[\s_.-]*(?:(?<![a-z])(?:p|pg|page))?[\s_.-]*\d+$", re.IGNORECASE)


def page_profile(language: str, text: str) -> str | None:
    """`cjk` for a page in Chinese or Japanese, by its language or, where that is unknown, by its letters."""
    if language:
        return "cjk" if language.partition("-")[0] in ("zh", "ja") else None
    return "cjk" if len(_CJK.findall(text)) > sum(map(str.isalpha, text)) / 2 else None


def usual_profile(texts: Iterable[str]) -> str:
    """The profile of a set's other pages, from its ground truth.

    `historic` where it has letters of old prints (long s, r rotunda, combining e); `loose` where over 70 % of
    the cased letters are capitals, since such transcripts do not follow the page's case; else `default`.
    """
    text = "".join(texts)
    if _HISTORIC.search(text):
        return "historic"
    upper, lower = sum(map(str.isupper, text)), sum(map(str.islower, text))
    return "loose" if upper > _UPPER_SHARE * (upper + lower) else "default"


def documents(pages: Sequence[SourcePage]) -> list[str]:
    """The document of each page: as the manifest says, else its file's name without a page number at the end.

    Where that makes one document of the whole set, it tells nothing, and each page is its own document.
    """
    names = [page.source.document or _PAGE_NUMBER.sub("", page.source.id) or page.source.id for page in pages]
    return names if len(set(names)) > 1 else [page.id for page in pages]
