"""Where a figure can be looked up: documents stand once in ``documents.csv``; a citation adds the place."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from .database import facts, read_csv
from .sections import Citation


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of ``documents.csv``; without `url` and `seen` it was quoted by others and is no evidence."""

    key: str
    title: str
    revision: str = ""
    url: str = ""
    seen: str = ""


@lru_cache(maxsize=1)
def documents() -> dict[str, Document]:
    """The documents of the catalog by key."""
    return {row["key"]: msgspec.convert(row, Document) for row in read_csv(facts() / "documents.csv")}


def full(citation: Citation) -> Citation:
    """A citation with title, revision, address and day of its document, where the catalog has that."""
    known = documents().get(citation.document)
    if known is None:
        return citation
    return Citation(
        document=known.title,
        place=citation.place,
        revision=citation.revision or known.revision or None,
        url=citation.url or known.url or None,
        seen=citation.seen or known.seen or None,
    )


def text_of_source(source: str | Citation) -> str:
    """A source as it is printed: document, revision, place, address, day.

    >>> text_of_source(Citation(document="ada-whitepaper", place="appendix A, table 2"))[:71]
    'NVIDIA Ada GPU architecture, v2.1, 2023; appendix A, table 2; https://i'
    """
    if isinstance(source, str):
        return source
    cited = full(source)
    title = cited.document if cited.revision is None else f"{cited.document}, {cited.revision}"
    seen = [] if cited.seen is None else [f"seen {cited.seen}"]
    return "; ".join([title, cited.place, *([cited.url] if cited.url else []), *seen])


def missing(source: str | Citation) -> list[str]:
    """What a reader lacks to follow a source to its place: nothing where a citation is complete."""
    if isinstance(source, str):
        return ["document", "place", "revision", "url", "seen"]
    cited = full(source)
    return [name for name in ("document", "place", "revision", "url", "seen") if not getattr(cited, name)]
