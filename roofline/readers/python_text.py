"""Settings written as Python, read as text: assignments of numbers, words and their arithmetic. Nothing is run."""

from __future__ import annotations

import ast
from typing import Any

from ..errors import RooflineError
from ..model.expressions import ExpressionError, evaluate

LONGEST = 100_000  # letters: deep nesting overflows Python's parser before this does


def python_values(text: str, where: str) -> dict[str, Any]:
    """The values that a settings file assigns at its top level, and keyword arguments of the calls it makes.

    Assignments keep their names (``batch_size = 12``); a keyword of a call is ``Class.keyword``; the first wins.

    Raises:
        RooflineError: Not Python.
    """
    if len(text) > LONGEST:
        raise RooflineError(f"{where}: more than {LONGEST:,} letters of Python: not a settings file")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise RooflineError(f"{where}: not Python: {getattr(error, 'msg', error)}") from None
    names: dict[str, Any] = {}
    for statement in tree.body:
        _assign(statement, names)
    values = {name: value for name, value in names.items() if value is not None}
    local = dict(names)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            _assign(node, local)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _keywords(node, local, values)
    return values


def _assign(node: ast.AST, names: dict[str, Any]) -> None:
    """Keep ``name = value`` where the value can be read."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, value = node.targets[0].id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        name, value = node.target.id, node.value
    else:
        return
    read = _read(value, names)
    if read is not None or name not in names:
        names[name] = read


def _keywords(node: ast.Call, names: dict[str, Any], values: dict[str, Any]) -> None:
    """Keep the keywords of a call under the last name of what is called."""
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    for keyword in node.keywords:
        if keyword.arg is None or not called:
            continue
        read = _read(keyword.value, names)
        if read is not None:
            table = values.setdefault(called, {})
            if isinstance(table, dict):
                table.setdefault(keyword.arg, read)
    owner = node.func.value if isinstance(node.func, ast.Attribute) else None
    if called and isinstance(owner, ast.Name) and owner.id[:1].isupper():
        table = values.setdefault(owner.id, {})
        if isinstance(table, dict):
            table.setdefault("made_by", called)


def _read(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression of numbers and words; an attribute by its last name; None: anything else."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return node.value
        case ast.Attribute() if not isinstance(node.value, ast.Call):
            return node.attr
        case ast.List() | ast.Tuple():
            return [_read(part, names) for part in node.elts]
        case ast.BinOp() | ast.UnaryOp() | ast.Name():
            try:
                return evaluate(ast.unparse(node).replace("**", "*"), names) if "**" not in ast.unparse(node) else None
            except (ExpressionError, RooflineError):
                return None
        case _:
            return None
