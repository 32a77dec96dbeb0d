"""The files of one run: which framework each is of, what they name beside them, and all of it as one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from ..model.expressions import evaluate
from .documents import Document, load_documents
from .files import BASES, look_up, under
from .framework import Framework, framework_names, load_framework
from .keys import Keys, UnsetVariable
from .layers import layer
from .values import scalar
from .variables import resolve

FEWEST = 3  # options: a command with fewer says nothing of a run by itself
EVERYDAY = {  # marks that files of no framework have as well: alone they name none
    "model", "model.name", "batch_size", "micro_batch_size", "global_batch_size", "learning_rate", "max_length",
    "dataset", "datasets", "dataset_name", "num_epochs", "num_layers", "hidden_size", "precision", "devices",
    "checkpoint", "logger", "hardware", "run",
}  # fmt: skip
_TRACED = "; FILE.py:FUNCTION traces the PyTorch module that a function builds"


class Gathered(msgspec.Struct, kw_only=True):
    """The files of a run.

    Attributes:
        framework: Whose rules apply.
        shown: The framework as the answer names it.
        documents: The files, the run file first.
        values: All keys; a part's (a launcher's, DeepSpeed's) under the part's name.
        parts: Which parts there are.
        variables: Variables that a launch script sets.
        notes: What was assumed on the way.
        of_bases: Keys that stand in a base alone, not in what the user wrote.
    """

    framework: str
    shown: str
    documents: list[Document]
    values: dict[str, Any]
    parts: set[str]
    variables: dict[str, Any]
    notes: list[str]
    of_bases: frozenset[str] = frozenset()


def gather(path: Path, more: Sequence[Path], framework: str | None = None) -> Gathered:
    """Load a run file, further files of the same run, and what they name beside them.

    Raises:
        RooflineError: A file that cannot be read, is of no known framework or of several, or names one not there.
    """
    loaded = [document for each in [path, *more] for document in load_documents(each)]
    loaded += handed_on(loaded)
    named = identified(loaded, framework)
    mains = [(name, document) for name, document in named if not load_framework(name).completes]
    head, first = mains[0] if mains else named[0]
    strangers = [name for name, _ in mains if name != head]
    if strangers:
        raise RooflineError(
            f"{loaded[0].path} is a file of {load_framework(head).title}, and one given with --with of "
            f"{load_framework(strangers[0]).title}: give the files of one run"
        )
    gathered = Gathered(framework=head, shown=head, documents=loaded, values={}, parts=set(), variables={}, notes=[])
    for name, document in named:
        gathered.variables |= document.variables
        part = load_framework(name).completes
        if part and document is not first:
            put_part(gathered, part, document.values)
        elif document is not first:
            gathered.values = under(gathered.values, document.values)
    for name, document in named:  # what a command line says beats the files it names
        if document.form == "shell" and not load_framework(name).completes:
            gathered.values = under(gathered.values, document.values)
    layered(gathered, first)
    alone = load_framework(head).completes
    if alone and alone not in gathered.parts:  # its keys stand where the rules of a trainer would find them as well
        gathered.parts.add(alone)
        gathered.values = {alone: gathered.values} if gathered.values else {}
    open_named(gathered, first)
    fill_row(gathered, Path(first.path).stem)
    rules = load_framework(gathered.framework)
    gathered.values = resolve(gathered.values, gathered.variables, first.path, rules.lift)
    return gathered


def put_part(gathered: Gathered, part: str, values: dict[str, Any]) -> None:
    """Keep a part's keys under its name."""
    gathered.parts.add(part)
    if values:
        gathered.values[part] = under(values, gathered.values.get(part, {}))


def is_run_file(path: Path) -> bool:
    """Whether a JSON or TOML file has a framework's keys; those that describe a model have none.

    Raises:
        RooflineError: It cannot be read.
    """
    documents = load_documents(path)
    if {"model_type", "architectures", "_class_name"} & documents[0].values.keys():
        return False
    return any(score(load_framework(name), documents[0]) > 1 for name in framework_names())


# --- whose file -------------------------------------------------------------------------------------------


def identified(loaded: Sequence[Document], framework: str | None) -> list[tuple[str, Document]]:
    """Each document with its framework; a command line that hands a run file on is of the framework of that file.

    Raises:
        RooflineError: One is of no framework, or of several alike.
    """
    if len(loaded) == 1 and (problem := unopened(loaded[0])) is not None:
        raise problem
    found: dict[int, str] = {}
    for at, document in enumerate(loaded):
        if document.form != "shell":
            found[at] = identify(document, framework if at == 0 else None)
    files = [name for name in found.values() if not load_framework(name).completes]
    for at, document in enumerate(loaded):
        if at not in found:
            wanted = framework if at == 0 else None
            found[at] = wanted or (files[0] if files and document.named else identify(document))
    return [(found[at], document) for at, document in enumerate(loaded)]


def handed_on(loaded: Sequence[Document]) -> list[Document]:
    """The configurations that a script's command hands on, where they lie beside the script."""
    known = {Path(document.path).name for document in loaded}
    found: list[Document] = []
    for document in loaded:
        for name in document.named:
            path = None if Path(name).name in known else look_up(name, Path(document.path), [BASES])
            found += [] if path is None else load_documents(path)
    return found


def unopened(document: Document) -> RooflineError | None:
    """The error for the configuration that a command names by ``--config`` and that was not given."""
    config = document.values.get("config", document.values.get("config_file"))
    wanted = [name for name in document.named if isinstance(config, str) and name in {config, f"{config}.yaml"}]
    name = (wanted or document.named or [""])[0]
    return (
        RooflineError(
            f"{document.path} hands on {shown(name, 120)}, which is not beside it: give it with --with, or put it there"
        )
        if wanted or (name and len(document.values) < FEWEST)
        else None
    )


def identify(document: Document, wanted: str | None = None) -> str:
    """The framework whose keys a document has.

    Raises:
        RooflineError: Of none, or of several alike.
    """
    if wanted is not None:
        load_framework(wanted)
        return wanted
    scores = {name: score(load_framework(name), document) for name in framework_names()}
    best = max(scores.values(), default=0)
    found = [name for name, value in scores.items() if value == best > 0]
    if len(found) != 1 and document.form == "shell" and not document.values:
        raise RooflineError(
            f"{document.path}: no command in it trains: give the script that starts the training itself"
        )
    if not found:
        titles = sorted({load_framework(name).title for name in framework_names()})
        raise RooflineError(
            f"{document.path}: the keys are of no framework that is known ({', '.join(titles)}); "
            f"--framework says which it is{_TRACED if document.form == 'python' else ''}"
        )
    if len(found) > 1:
        titles = [load_framework(name).title for name in found]
        raise RooflineError(
            f"{document.path} may be a file of {' or '.join(titles)}: say which with --framework {' or '.join(found)}"
        )
    return found[0]


def score(framework: Framework, document: Document) -> int:
    """How many of a framework's marks a document bears; below 0 where it bears one that rules it out.

    Its form says nothing alone, and neither do keys that any file may have.
    """
    if any(has_mark(mark, document) for mark in framework.marks_not):
        return -1
    if framework.marks_any and not any(has_mark(mark, document) for mark in framework.marks_any):
        return -1
    found = [mark for mark in framework.marks if has_mark(mark, document)]
    return len(found) if any(mark not in EVERYDAY and not mark.startswith(":") for mark in found) else 0


def has_mark(mark: str, document: Document) -> bool:
    """Whether a document has a key (``training.seq_len``), a key with a value (``name=x``) or a form (``:toml``)."""
    if mark.startswith(":"):
        return document.form == mark[1:]
    if mark.startswith("$"):
        return any(name.startswith(mark[1:]) for name in document.variables)
    path, equals, wanted = mark.partition("=")
    value: Any = document.values
    for part in path.split("."):
        if part == "*":
            tables = (
                [each for each in value.values() if isinstance(each, Mapping)] if isinstance(value, Mapping) else []
            )
            value = tables[0] if tables else None
        elif isinstance(value, Mapping) and part in value:
            value = value[part]
        else:
            return False
    return not equals or str(value).lower() == wanted.lower()


# --- files that files name ----------------------------------------------------------------------------------


def open_named(gathered: Gathered, first: Document) -> None:
    """Open the files that the run file names, where they lie beside it; else take what their framework ships."""
    rules = load_framework(gathered.framework)
    done: set[str] = set()
    before = -1
    while before != len(done):  # a file that one names may name another
        before = len(done)
        for named in rules.files:
            try:
                name = evaluate(named.name, Keys(gathered.values, rules.lift, {}))
            except UnsetVariable:
                continue
            if isinstance(name, str) and name.strip() and name not in done:
                done.add(name)
                open_one(gathered, first, rules, name, named.folders, needed=named.needed)


def open_one(
    gathered: Gathered, first: Document, rules: Framework, name: str, folders: list[str], *, needed: bool
) -> None:
    """One file that a run file names."""
    known = {Path(document.path).name for document in gathered.documents}
    if Path(name).name in known:
        return
    path = look_up(name, Path(first.path), [*folders, BASES])
    if path is None:
        shipped = next((rules.shipped[key] for key in rules.shipped if Path(name).name.lower() == key.lower()), None)
        if shipped is not None:
            put_part(gathered, shipped["part"], shipped["values"])
            gathered.notes.append(f"{name} is not beside the file: taken as {rules.title} ships it")
        elif needed:
            raise RooflineError(
                f"{first.path} names {shown(name, 120)}, which is not beside it: give it with --with, or put it there"
            )
        return
    for document in load_documents(path):
        gathered.variables = {**document.variables, **gathered.variables}
        part = load_framework(identify(document)).completes
        if part:
            put_part(gathered, part, document.values)
        else:
            gathered.values = under(document.values, gathered.values)
        gathered.documents.append(document)


def fill_row(gathered: Gathered, name: str) -> None:
    """The variables in a run's row of a table of layouts (``[Mixtral-8x7B]="1 4 8 ..."``), and what follows."""
    rules = load_framework(gathered.framework)
    for table, columns in rules.columns.items():
        row = gathered.variables.get(f"{table}[{name}]")
        if row is None:
            continue
        words = [scalar(word) for word in str(row).split()]
        values = dict(zip(columns, words, strict=False))
        gathered.variables |= values
        for variable, expression in rules.variables.items():
            gathered.variables[variable] = evaluate(expression, values)
        gathered.notes.append(f"{', '.join(columns[:4])}, ... are those of {name} in the table {table}")


def layered(gathered: Gathered, first: Document) -> None:
    """Put the run file's own keys over what it extends; where it is a job of a back end, take that one's rules."""
    rules = load_framework(gathered.framework)
    if not rules.layered:
        gathered.values = under(first.values, gathered.values)
        return
    run = next((document for document in gathered.documents if rules.layered in document.values), first)
    more = {key: value for key, value in gathered.values.items() if run is first or key not in run.values}
    job = layer(run, rules.layered, under(more, first.values) if run is not first else more)
    gathered.framework = f"{gathered.framework}-{job.backend}"
    gathered.values, gathered.of_bases = job.values, job.of_bases
    gathered.documents += job.documents
