"""Small, safe expressions over named values: what a family file or a layer condition may compute.

Python syntax, restricted to arithmetic, comparisons, conditions, indexing, list comprehensions and a few
functions. A name that is not there is None, so that ``num_key_value_heads or num_attention_heads`` reads as
it is meant; in a `Scope` a name that is 0 is there as well, and ends an ``or``.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from ..errors import RooflineError, shown
from ..reading import Work

_MAX_TEXT = 4000  # letters
_MAX_RANGE = 100_000  # a pattern never has more entries than a model has layers
_MAX_INTEGER = 10**30
_MEANT = (  # Python's words for a value of the wrong kind, and ours
    (r"ndex out of range", "a list is too short"),
    (r"division|modulo", "division by zero"),
    (r"iterable|subscriptable|has no len|unpack", "what is no list stands where one belongs"),
    (r"", "what is no number stands where one belongs"),
)

_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: items is not None and item in items,
    ast.NotIn: lambda item, items: items is None or item not in items,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


class ExpressionError(RooflineError):
    """An expression that cannot be computed from the values given.

    Attributes:
        expression: The expression.
        problem: What is wrong, in words.
    """

    def __init__(self, expression: str, problem: str) -> None:
        """Keep both for callers that know better words."""
        super().__init__(f"cannot compute {expression!r}: {problem}")
        self.expression, self.problem = expression, problem


class Scope(dict[str, Any]):
    """Values that remember which names an expression needed and nobody stated.

    Attributes:
        defaults: Names whose value is a default.
        unstated: Names looked up that are absent or a default, with what stands in for them (None: nothing).
        functions: Functions that expressions over these values may call, besides those of every expression.
    """

    functions: Mapping[str, Callable[..., Any]] = {}

    def __init__(
        self, values: Mapping[str, Any], defaults: Collection[str] = (), unstated: dict[str, Any] | None = None
    ) -> None:
        """Start a record, or go on with another's."""
        super().__init__(values)
        self.defaults = defaults
        self.unstated: dict[str, Any] = {} if unstated is None else unstated

    def with_values(self, more: Mapping[str, Any]) -> Scope:
        """These values and `more`, with one record."""
        return Scope({**self, **more}, self.defaults, self.unstated)


def _range(*limits: int) -> range:
    """A range no longer than a model can have layers."""
    result = range(*limits)
    if len(result) > _MAX_RANGE:
        raise ValueError(f"range of more than {_MAX_RANGE} entries")
    return result


def _sum(values: Any) -> Any:
    """The sum of numbers."""
    if not all(isinstance(value, (int, float)) for value in values):
        raise ValueError("sum takes numbers")
    return sum(values)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "bool": bool,
    "int": int,
    "isinstance_list": lambda value: isinstance(value, list),
    "isinstance_str": lambda value: isinstance(value, str),
    "len": len,
    "max": max,
    "min": min,
    "product": lambda values: math.prod(map(int, values)),
    "range": _range,
    "sum": _sum,
}


def evaluate(expression: str, values: Mapping[str, object], work: Work | None = None) -> Any:
    """The value of `expression`, with names looked up in `values`; several may share what they may cost.

    >>> evaluate("4 * n_embd if n_inner is None else n_inner", {"n_embd": 768})
    3072
    >>> evaluate("[i for i in range(4) if i % 2]", {})
    [1, 3]

    Raises:
        ExpressionError: When it cannot be computed from these values.
    """
    try:
        return _value(_parse(expression), values, work or Work())
    except RecursionError:
        raise ExpressionError(expression, "it is nested too deeply") from None
    except RooflineError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        ours = type(error) is ValueError and not str(error).startswith(("invalid literal", "cannot convert"))
        words = next(words for pattern, words in _MEANT if re.search(pattern, str(error)))
        raise ExpressionError(expression, str(error) if ours else words) from None


def names_in(expression: str) -> frozenset[str]:
    """The names that `expression` looks up, without those that it binds itself.

    >>> sorted(names_in("[i * d_model for i in range(n_layers)]"))
    ['d_model', 'n_layers']
    """
    tree = _parse(expression)
    bound = {
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.comprehension) and isinstance(node.target, ast.Name)
    }
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}
    return frozenset(names - bound)


def fields_in(expression: str) -> list[str]:
    """The fields that `expression` looks up, in order; those of nested tables with their path.

    >>> fields_in("(attn_config.kv_n_heads or n_heads) * d_model")
    ['attn_config.kv_n_heads', 'n_heads', 'd_model']
    """
    known = names_in(expression)

    def walk(node: ast.AST) -> list[str]:
        if isinstance(node, (ast.Attribute, ast.Name)):
            text = ast.unparse(node)
            return [text] if text.split(".", maxsplit=1)[0] in known else []
        return [name for child in ast.iter_child_nodes(node) for name in walk(child)]

    return list(dict.fromkeys(walk(_parse(expression))))


@lru_cache(maxsize=1024)
def _parse(expression: str) -> ast.expr:
    """The syntax tree of an expression."""
    if len(expression) > _MAX_TEXT:
        raise RooflineError(f"an expression of more than {_MAX_TEXT:,} letters: {shown(expression)}")
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise RooflineError(f"not an expression: {expression!r} ({error.msg})") from None
    except (RecursionError, MemoryError, ValueError):  # nested beyond the parser; a null byte
        raise RooflineError(f"not an expression: {expression!r} (nested too deeply, or with a null byte)") from None


def _value(node: ast.expr, names: Mapping[str, object], work: Work) -> Any:  # noqa: C901, PLR0911, PLR0912 (a dispatch)
    """The value of one node."""
    work.spend(1)
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return _look_up(node.id, names)
        case ast.BoolOp(op=ast.And()):
            value: Any = True
            for part in node.values:
                value = _value(part, names, work)
                if not value:
                    return value
            return value
        case ast.BoolOp():
            return _either(node, names, work)
        case ast.BinOp():
            return _binary(node, names, work)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, names, work)
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand, names, work)
        case ast.Compare():
            left = _value(node.left, names, work)
            for compare, comparator in zip(node.ops, node.comparators, strict=True):
                right = _value(comparator, names, work)
                work.weigh(left)
                work.weigh(right)
                if not _COMPARE[type(compare)](left, right):
                    return False
                left = right
            return True
        case ast.IfExp():
            return _value(node.body if _value(node.test, names, work) else node.orelse, names, work)
        case ast.Subscript():
            index = node.slice
            if isinstance(index, ast.Slice):
                start, stop, step = (
                    part and _value(part, names, work) for part in (index.lower, index.upper, index.step)
                )
                return _value(node.value, names, work)[start:stop:step]
            return _value(node.value, names, work)[_value(index, names, work)]
        case ast.Attribute():  # a nested table of the config: attn_config.kv_n_heads
            table = _value(node.value, names, work)
            return table.get(node.attr) if isinstance(table, Mapping) else None
        case ast.List() | ast.Tuple():
            return [_value(part, names, work) for part in node.elts]
        case ast.ListComp():
            return _comprehension(node, names, work)
        case ast.Call(func=ast.Name(id=name)) if (function := _function(name, names)) and not node.keywords:
            arguments = [_value(argument, names, work) for argument in node.args]
            work.weigh(arguments)
            return function(*arguments)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not allowed here")


def _function(name: str, names: Mapping[str, object]) -> Callable[..., Any] | None:
    """The function of a name, where expressions over these values may call it."""
    more = names.functions if isinstance(names, Scope) else {}
    return _FUNCTIONS.get(name) or more.get(name)


def _look_up(name: str, names: Mapping[str, object]) -> Any:
    """The value of a name; None, and on record, where it is not there."""
    value = names.get(name)
    if isinstance(names, Scope) and (name not in names or name in names.defaults):
        names.unstated.setdefault(name, value)
    return value


def _either(node: ast.BoolOp, names: Mapping[str, object], work: Work) -> Any:
    """The first part that is true; in a `Scope` a name that is 0 ends the search as well.

    Names that are all absent go on record together, with the value that stands in for them.
    """
    value: Any = None
    recorded = isinstance(names, Scope)
    absent: list[str] = []
    for part in node.values:
        if isinstance(part, ast.Name) and part.id not in names:
            absent.append(part.id)
            continue
        value = _value(part, names, work)
        if value or (recorded and isinstance(part, ast.Name) and type(value) is int):
            break
    else:
        part = node  # none of them
    if absent and isinstance(names, Scope) and not isinstance(part, ast.Name):
        public = [name for name in absent if not name.startswith("_")]
        names.unstated.setdefault(" or ".join(public), value)
    return value


def _binary(node: ast.BinOp, names: Mapping[str, object], work: Work) -> Any:
    """An arithmetic operation whose result stays of reasonable size."""
    function = _BINARY.get(type(node.op))
    if function is None:
        raise ValueError(f"{ast.unparse(node)!r} is not allowed here")
    left, right = _value(node.left, names, work), _value(node.right, names, work)
    for side, value in ((node.left, left), (node.right, right)):
        if value is None:
            raise ValueError(f"{ast.unparse(side)} is missing")
    if function is operator.mul and any(isinstance(v, (str, list)) for v in (left, right)):
        repeated, times = (left, right) if isinstance(left, (str, list)) else (right, left)
        if not isinstance(times, int) or len(repeated) * times > _MAX_RANGE:
            raise ValueError(f"{ast.unparse(node)!r} is too long")
    if function is operator.mod and not all(isinstance(value, (int, float)) for value in (left, right)):
        raise ValueError(f"{ast.unparse(node)!r}: % is for numbers")
    result = function(left, right)
    if isinstance(result, (str, list)):
        work.spend(len(result))
    if isinstance(result, int) and abs(result) > _MAX_INTEGER:
        raise ValueError(f"{ast.unparse(node)!r} is too large")
    return result


def _comprehension(node: ast.ListComp, names: Mapping[str, object], work: Work) -> list[Any]:
    """A list comprehension, of one name or nested."""

    def run(loops: list[ast.comprehension], scope: Mapping[str, object]) -> list[Any]:
        if not loops:
            return [_value(node.elt, scope, work)]
        loop, *inner = loops
        if not isinstance(loop.target, ast.Name):
            raise ValueError("a comprehension names one variable")  # noqa: TRY004 (a value of the user's text)
        result = []
        for item in _value(loop.iter, scope, work):
            work.spend(1 + len(scope) // 100)  # each turn has a scope of its own
            bound = {loop.target.id: item}
            here = scope.with_values(bound) if isinstance(scope, Scope) else {**scope, **bound}
            if all(_value(condition, here, work) for condition in loop.ifs):
                result += run(inner, here)
            if len(result) > _MAX_RANGE:
                raise ValueError(f"{ast.unparse(node)!r} is too long")
        return result

    return run(node.generators, names)
