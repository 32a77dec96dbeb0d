"""Small wrong changes of the arithmetic, one at a time: for mutate.py."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import msgspec

import roofline

PACKAGE = Path(roofline.__file__).parent
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "ceil": "floor", "floor": "ceil"}


class Mutant(msgspec.Struct, frozen=True):
    """One change: where, what stood there and what stands there now."""

    module: str
    function: str
    line: int
    before: str
    after: str
    nth: int
    """Of the changes of this function that read alike, from 1."""
    place: tuple[int, int]
    """Which node of the module's tree, and which of the changes of that node."""

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from others, wherever its line moves."""
        return (self.module, self.function, self.before, self.after, str(self.nth))

    @property
    def path(self) -> Path:
        """Its module's file."""
        return PACKAGE / self.module

    def code(self) -> CodeType:
        """Its function as changed, compiled."""
        tree = _tree(self.module)
        number, change = self.place
        node = list(ast.walk(tree))[number]
        _replace(tree, node, list(changes(node))[change])
        compiled = compile(ast.fix_missing_locations(tree), str(self.path), "exec")
        return next(each for each in _inside(compiled) if each.co_qualname == self.function)


def changes(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Each node that may stand in place of `node`."""
    match node:
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in _SWAPS:
            if not isinstance(node, ast.BinOp) or not any(
                isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)
            ):
                changed = copy.copy(node)
                changed.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
                yield changed
        case ast.Compare() if type(node.ops[0]) in _SWAPS:
            compared = copy.copy(node)
            compared.ops = [_SWAPS[type(node.ops[0])](), *node.ops[1:]]  # type: ignore[list-item]
            yield compared
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1 if value else 10**9)  # a byte more would be seen by nobody
        case ast.IfExp():
            yield ast.IfExp(test=node.test, body=node.orelse, orelse=node.body)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Name(id=name) if name in _NAMES:
            yield ast.Name(_NAMES[name], node.ctx)
        case ast.If() if not node.orelse:
            yield ast.If(test=ast.Constant(False), body=node.body, orelse=[])


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module: of what its functions compute, not of annotations, defaults and messages."""
    tree = _tree(module)
    place_of = {node: number for number, node in enumerate(ast.walk(tree))}
    found = []
    for function, qualified in _functions(tree):
        alike: Counter[tuple[str, str]] = Counter()
        for node in [inner for statement in function.body for inner in _computing(statement)]:
            for number, new in enumerate(changes(node)):
                assert isinstance(node, ast.expr | ast.stmt)
                before, after = (ast.unparse(each).splitlines()[0] for each in (node, new))
                alike[before, after] += 1
                place = (place_of[node], number)
                found.append(Mutant(module, qualified, node.lineno, before, after, alike[before, after], place))
    return found


def _tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def _functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[ast.FunctionDef, str]]:
    """Functions and methods with their qualified names; what is defined inside one belongs to it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            yield node, inside + node.name
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{inside}{node.name}.")


def _computing(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement that compute: no messages, no guards of `zip`."""
    if isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg == "strict"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _computing(child)


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put `new` where `old` stands."""
    ast.copy_location(new, old)
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])


def _inside(code: CodeType) -> Iterator[CodeType]:
    """The code of everything that `code` defines, at any depth."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _inside(constant)
