"""Run files that name a base configuration, a model's configuration and their own overrides (Primus)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from .documents import Document, load_documents
from .files import BASES, MOST_FILES, look_up, under
from .keys import leaves
from .variables import resolve

MODULE, MODEL = "modules", "models"  # folders of the two kinds of base


class Job(msgspec.Struct, kw_only=True):
    """One job of a layered run file.

    Attributes:
        backend: The framework that runs it.
        values: Its keys, the run file's own over those of its bases.
        of_bases: Keys that stand in a base alone.
        documents: The bases that were opened.
    """

    backend: str
    values: dict[str, Any]
    of_bases: frozenset[str]
    documents: list[Document]


def layer(first: Document, section: str, more: Mapping[str, Any]) -> Job:
    """The job of a run file, over its bases, with further files (`more`) over it.

    Raises:
        RooflineError: No job, several, or a base that is not there.
    """
    table = resolve(first.values, {}, first.path).get(section)
    jobs = {
        name: job
        for name, job in (table.items() if isinstance(table, Mapping) else ())
        if isinstance(job, Mapping) and isinstance(job.get("framework"), str)
    }
    if len(jobs) != 1:
        found = f"{len(jobs)} jobs ({', '.join(jobs)})" if jobs else "no job with a framework"
        raise RooflineError(f"{first.path}: {section} holds {found}: keep the one to estimate")
    job = next(iter(jobs.values()))
    backend = str(job["framework"])
    opened: list[Document] = []
    base: dict[str, Any] = {}
    for kind, name in ((MODULE, job.get("config")), (MODEL, job.get("model"))):
        if isinstance(name, str):
            base = under(base, _extended(name, first, [f"{BASES}/{kind}/{backend}"], opened))
    overrides = job.get("overrides")
    own = under(overrides if isinstance(overrides, Mapping) else {}, more)
    written = {key for key, _ in leaves(own)}
    return Job(
        backend=backend,
        values=under(base, own),
        of_bases=frozenset(key for key, _ in leaves(base)) - written,
        documents=opened,
    )


def _extended(name: str, first: Document, folders: list[str], opened: list[Document]) -> dict[str, Any]:
    """The keys of a base, over those of the bases that it extends itself.

    Raises:
        RooflineError: It is not there, or extends itself.
    """
    path = look_up(name, Path(first.path), folders)
    if path is None:
        raise RooflineError(
            f"{first.path} extends {shown(name, 120)}, which is not beside it, nor in {folders[-1]}/ there"
        )
    if len(opened) >= MOST_FILES:
        raise RooflineError(f"{first.path}: more than {MOST_FILES} bases: they extend one another in a circle")
    document = load_documents(path)[0]
    opened.append(document)
    beside = path.parent.relative_to(Path(first.path).parent) if path.parent != Path(first.path).parent else Path()
    values: dict[str, Any] = {}
    for base in document.values.get("extends") or []:
        values = under(
            values, _extended(str(base), first, [*folders, str(beside), str(beside / Path(base).parent)], opened)
        )
    own = {key: value for key, value in document.values.items() if key != "extends"}
    return under(values, own)
