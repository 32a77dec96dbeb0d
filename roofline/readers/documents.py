"""Run files as tables of plain values: YAML, JSON, TOML, launch scripts, settings in Python, dumps of arguments.

Nothing in a file is executed. Size, depth and repetition are bounded before anything is parsed.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from ..reading import parse_toml
from .expansion import CLOSE, OPEN
from .forms import FORMS, form_of
from .launch import (
    arguments,
    launched,
    named_by_variable,
    named_files,
    positional,
    program,
    same_program,
    training_jobs,
    worded,
)
from .shell import read_script
from .values import normal_key, scalar
from .yaml_text import DEEPEST, parse_yaml

LARGEST = 2**20  # bytes: the longest run file gathered has 78 kB
LARGEST_JSON_NUMBER = 40
_DUMP_LINE = re.compile(r"^(?:\S*\]:?)?\s*(\w+) \.{2,} (.*)$", re.MULTILINE)
_BARE = re.compile(r"(?<=[:\[,])(\s*)([A-Za-z_]\w*)(?=\s*[,}\]\n])")


class Document(msgspec.Struct, kw_only=True):
    """One file, or one job of it, as a table.

    Attributes:
        path: The file.
        form: How it was read: yaml, json, toml, shell, python or dump.
        values: The table, keys normalised (no leading dashes, underscores).
        variables: Variables that a launch script sets.
        notes: What was left out, or which case was taken.
        comments: The lines that are comments: some say on how many devices a recipe runs.
        named: Run files that the command of a launch script hands on.
    """

    path: str
    form: str
    values: dict[str, Any]
    variables: dict[str, Any] = {}
    notes: list[str] = []
    comments: str = ""
    named: list[str] = []


def load_documents(path: Path) -> list[Document]:
    """The tables of a file: one, and those written inside it (a script's here-documents).

    Raises:
        RooflineError: Unreadable, too large, not of its form, or several jobs in one file.
    """
    form = form_of(path.name)
    if form is None:
        raise RooflineError(f"{path}: not a run file: {', '.join(sorted(FORMS))} are read")
    text = _read_text(path)
    return parse_text(text, str(path), form)


def _read_text(path: Path) -> str:
    """The text of a file of reasonable size."""
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "no such file" if not path.exists() else "not an ordinary file"
            raise RooflineError(f"{str(path)[:200]}: {what}")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise RooflineError(
            f"cannot read {shown(str(path), 200)}: {getattr(error, 'strerror', None) or error}"
        ) from None
    if len(content) > LARGEST:
        raise RooflineError(f"{path}: more than {LARGEST // 2**20} MiB: not a run file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RooflineError(f"{path}: not a text file") from None


def parse_text(text: str, where: str, form: str) -> list[Document]:
    """The tables of a text of a known form."""
    if "\0" in text or "\1" in text:
        raise RooflineError(f"{where}: not a text file")
    notes: list[str] = []
    if form == "shell":
        return _from_shell(text, where)
    if form == "dump":
        values = _dump(text)
        if not values:
            raise RooflineError(f"{where}: holds no dump of arguments (lines such as 'num_layers ...... 32')")
    elif form == "python":
        from .python_text import module_docstring, python_values

        values = python_values(text, where)
    elif form == "toml":
        values = parse_toml(text, where)
    elif form == "json":
        values = _json(text, where)
    else:
        values, notes = _yaml(text, where)
    if not isinstance(values, dict):
        raise RooflineError(f"{where}: holds no table of keys and values")
    comments = _comments(text)
    if form == "python":
        comments = f"{module_docstring(text)}\n{comments}"
    return [Document(path=where, form=form, values=_normal(values, where), notes=notes, comments=comments)]


def _comments(text: str) -> str:
    """The lines that begin with a number sign, joined."""
    lines = [line.strip()[1:].strip() for line in text.splitlines() if line.lstrip().startswith("#")]
    return "\n".join(lines)[:20_000]


def _normal(values: dict[str, Any], where: str, depth: int = 0) -> dict[str, Any]:
    """Keys without dashes, text with variables marked; a key that is there twice once normalised is an error."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        name = normal_key(key)
        if name in result:
            raise RooflineError(f"{where}: the key {shown(name)} stands twice (once as {shown(key)}): keep one")
        if isinstance(value, dict):
            if depth >= DEEPEST:
                raise RooflineError(f"{where}: values nested more than {DEEPEST} deep")
            result[name] = _normal(value, where, depth + 1)
        else:
            result[name] = value
    return result


def _yaml(text: str, where: str) -> tuple[Any, list[str]]:
    found, notes = parse_yaml(text, where)
    documents = [each for each in found if each is not None]
    if not documents:
        raise RooflineError(f"{where}: empty")
    if len(documents) > 1:
        raise RooflineError(f"{where}: holds {len(documents)} documents ('---'): keep the one to estimate")
    return documents[0], notes


def _json(text: str, where: str) -> Any:
    """JSON; in a template, bare words (``"stage": ZERO_STAGE``) are variables."""

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice = next(key for i, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:i]))
            raise RooflineError(f"{where}: the key {shown(twice)} stands twice in one table: keep one")
        return result

    def whole(digits: str) -> int:
        if len(digits) > LARGEST_JSON_NUMBER:
            raise RooflineError(f"{where}: a number of {len(digits)} digits")
        return int(digits)

    def parse(source: str) -> Any:
        return json.loads(source, object_pairs_hook=table, parse_int=whole)

    try:
        return parse(text)
    except json.JSONDecodeError as error:
        words = {"true", "false", "null"}
        filled = _BARE.sub(lambda m: m[0] if m[2] in words else f'{m[1]}"${{{m[2]}}}"', text)
        if filled != text:
            try:
                return parse(filled)
            except json.JSONDecodeError:
                pass
        raise RooflineError(f"{where}: line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise RooflineError(f"{where}: values nested too deep (at most {DEEPEST} levels)") from None


def _dump(text: str) -> dict[str, Any]:
    """The arguments that a program printed, one a line: ``num_layers ........ 32``."""
    return {name: _dumped(value.strip()) for name, value in _DUMP_LINE.findall(text)}


def _dumped(text: str) -> Any:
    if text.startswith(("[", "(", "'")):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return list(value) if isinstance(value, tuple) else value
    return scalar(text)


# --- launch scripts -----------------------------------------------------------------------------------------


def _from_shell(text: str, where: str) -> list[Document]:
    """The command of a launch script that trains, and the configurations it writes."""
    script = read_script(text)
    notes = list(dict.fromkeys(script.taken))
    trains = training_jobs(script)
    if len(trains) > 1:
        firsts = " | ".join(program(words) for words in trains)
        notes.append(f"{len(trains)} commands train ({firsts}): the first is read")
    elif (several := same_program(script)) > 1:
        notes.append(f"{several} commands start {program(trains[0])}: the one with the most options is read")
    values = arguments(trains[0]) if trains else {}
    for header in script.headers:
        name, _, value = header.lstrip("-").partition("=")
        values.setdefault(f"sbatch_{normal_key(name)}", scalar(value) if value else True)
    variables = {name: value if isinstance(value, list) else worded(value) for name, value in script.variables.items()}
    if trains:
        variables["program"] = program(trains[0])
        variables["positional"] = positional(trains[0])
        variables["launched"] = launched(values, variables)
    named = (named_files(trains[0]) or named_by_variable(script)) if trains else []
    documents = [Document(path=where, form="shell", values=values, variables=variables, notes=notes, named=named)]
    for document in script.documents:
        shown = re.sub(f"(?<=[:\\[,])\\s*{OPEN}([^{CLOSE}]*){CLOSE}", r' "${\1}"', document)
        shown = shown.replace(OPEN, "${").replace(CLOSE, "}")
        if shown.lstrip().startswith("{"):
            try:
                inner = _json(shown, where)
            except RooflineError:
                continue
            if isinstance(inner, dict):
                documents.append(Document(path=f"{where} (here-document)", form="json", values=_normal(inner, where)))
    return documents
