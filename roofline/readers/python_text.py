"""Settings written as Python, read as text: assignments of numbers, words and their arithmetic. Nothing is run."""

from __future__ import annotations

import ast
from typing import Any

from ..errors import RooflineError
from ..model.expressions import ExpressionError, evaluate
from .values import Unresolved

LONGEST = 100_000  # letters: deep nesting overflows Python's parser before this does


def python_values(text: str, where: str) -> dict[str, Any]:
    """The values that a settings file assigns at its top level, and the arguments of the calls it makes.

    Assignments keep their names (``batch_size = 12``). A keyword of a call is ``Class.keyword``, the first positional
    argument ``Class.first``, and the method that made an object ``Class.made_by``; the first call of a class wins.

    Raises:
        RooflineError: Not Python.
    """
    tree = _parsed(text, where)
    names: dict[str, Any] = {}
    for statement in tree.body:
        _assign(statement, names)
    values = {name: value for name, value in names.items() if value is not None}
    calls = sorted(
        (node for node in ast.walk(tree) if isinstance(node, ast.Call)), key=lambda node: (node.lineno, node.col_offset)
    )
    local = names | _options_of_parsers(calls)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            _assign(node, local, local=True)
    for call in calls:
        owner, method = _called(call)
        found = _arguments(call, local) | ({"made_by": method} if method else {})
        if owner and found:
            values.setdefault(owner, found)
    return values


def module_docstring(text: str) -> str:
    """What a program says of itself at its top; nothing where it is not Python."""
    try:
        return ast.get_docstring(_parsed(text, "")) or ""
    except RooflineError:
        return ""


def _parsed(text: str, where: str) -> ast.Module:
    """The statements of a program.

    Raises:
        RooflineError: Not Python.
    """
    if len(text) > LONGEST:
        raise RooflineError(f"{where}: more than {LONGEST:,} letters of Python: not a settings file")
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise RooflineError(f"{where}: not Python: {getattr(error, 'msg', error)}") from None


def _is_number(node: ast.expr) -> bool:
    """Whether an expression that cannot be read is a number all the same: arithmetic, ``int(...)``, a variable's."""
    called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    return isinstance(node, ast.BinOp) or called in {"int", "float", "os.getenv", "os.environ.get"}


def _assign(node: ast.AST, names: dict[str, Any], *, local: bool = False) -> None:
    """Keep ``name = value`` where the value can be read; a number that cannot is unresolved."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, value = node.targets[0].id, node.value
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        name, value = node.target.id, node.value
    else:
        return
    read = _read(value, names)
    if read is None and not local and _is_number(value):
        read = Unresolved(text=ast.unparse(value)[:80], name="=" + ast.unparse(value)[:60])
    if read is not None or name not in names:
        names[name] = read


def _options_of_parsers(calls: list[ast.Call]) -> dict[str, Any]:
    """The defaults of a program's own options, as attributes are looked up: ``.sequence_length`` -> 2048."""
    found: dict[str, Any] = {}
    for call in calls:
        flags = [part.value for part in call.args if isinstance(part, ast.Constant) and isinstance(part.value, str)]
        default = next((_read(keyword.value, {}) for keyword in call.keywords if keyword.arg == "default"), None)
        if _called(call)[0] == "add_argument" and flags and default is not None:
            found["." + flags[-1].lstrip("-").replace("-", "_")] = default
    return found


def _called(call: ast.Call) -> tuple[str, str]:
    """The class or function that a call names, and the method of the class where it is one."""
    if isinstance(call.func, ast.Name):
        return call.func.id, ""
    if not isinstance(call.func, ast.Attribute):
        return "", ""
    owner = call.func.value
    if isinstance(owner, ast.Name) and owner.id[:1].isupper():
        return owner.id, call.func.attr
    return call.func.attr, ""


def _arguments(call: ast.Call, names: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a call that can be read, and its first positional argument."""
    found = {keyword.arg: _argument(keyword.value, names) for keyword in call.keywords if keyword.arg is not None}
    if call.args and _called(call)[0][:1].isupper():
        found.setdefault("first", _argument(call.args[0], names))
    return {name: value for name, value in found.items() if value is not None}


def _argument(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an argument: an object is the name of its class, a choice as it is where its condition holds."""
    if isinstance(node, ast.IfExp):
        return _argument(node.body, names)
    if isinstance(node, ast.Call):
        owner = _called(node)[0]
        return owner if owner[:1].isupper() else None
    return _read(node, names)


def _read(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression of numbers and words; an attribute by its last name; None: anything else."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return node.value
        case ast.Attribute() if not isinstance(node.value, ast.Call):
            return names.get(f".{node.attr}", node.attr)
        case ast.List() | ast.Tuple():
            return [_read(part, names) for part in node.elts]
        case ast.BoolOp(op=ast.Or()):  # options.length or LENGTH: the option is not given
            stated = [_read(part, names) for part in node.values if not isinstance(part, ast.Attribute)]
            return next(filter(None, stated), None)
        case ast.BinOp() | ast.UnaryOp() | ast.Name() if "**" not in ast.unparse(node):
            return _computed(node, names)
        case _:
            return None


def _computed(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of arithmetic on what is known; None where it cannot be computed."""
    try:
        return evaluate(ast.unparse(node), names)
    except (ExpressionError, RooflineError):
        return None
