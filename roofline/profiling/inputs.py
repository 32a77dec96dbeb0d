"""The inputs of an operator as a trace writes them: shapes, types, strides and scalars by position -> operands."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ..tracing.rules import Operand
from .events import Inputs

# type as ATen writes it: bytes of an element, and our word for it where matrix engines know it
TYPES: dict[str, tuple[int, str | None]] = {
    "float": (4, "fp32"),
    "double": (8, "fp64"),
    "c10::Half": (2, "fp16"),
    "c10::BFloat16": (2, "bf16"),
    "c10::Float8_e4m3fn": (1, "fp8"),
    "c10::Float8_e4m3fnuz": (1, "fp8"),
    "c10::Float8_e5m2": (1, "fp8"),
    "c10::Float8_e5m2fnuz": (1, "fp8"),
    "c10::Float8_e8m0fnu": (1, None),
    "c10::Float4_e2m1fn_x2": (1, "fp4"),
    "signed char": (1, "int8"),
    "unsigned char": (1, None),
    "bool": (1, None),
    "short": (2, None),
    "short int": (2, None),
    "int": (4, None),
    "long": (8, None),
    "long int": (8, None),
    "c10::complex<c10::Half>": (4, None),
    "c10::complex<float>": (8, None),
    "c10::complex<double>": (16, None),
}
_FLOATING = {ours: word for word, (_, ours) in reversed(TYPES.items()) if ours}


class Arguments(msgspec.Struct, frozen=True):
    """Inputs by position: an operand, a list of operands, the text of a scalar, or None; and the working dtype."""

    items: tuple[Any, ...]
    dtype: str | None  # of the first floating tensor
    untyped: bool  # it holds a list of tensors, whose type no trace says
    strided: bool = False  # a large tensor is not laid out densely in order

    @property
    def tensors(self) -> tuple[Operand, ...]:
        """Every tensor, lists taken apart."""
        found: list[Operand] = []
        for item in self.items:
            if isinstance(item, Operand):
                found.append(item)
            elif isinstance(item, list):
                found += item
        return tuple(found)

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the tensors."""
        return tuple(tensor.shape for tensor in self.tensors if tensor.shape)


def arguments(inputs: Inputs, itemsize: int | None = None, dtype_of_all: str | None = None) -> Arguments | None:
    """The inputs of an operator; None where no tensor among them has a shape.

    `itemsize` is that of lists of tensors, whose type a trace leaves out; `dtype_of_all` that of every tensor in a
    trace that holds no types at all.
    """
    dims = _list(inputs.dims)
    types = [str(word) for word in _list(inputs.types)]
    if not types and dtype_of_all is not None:
        types = [_FLOATING[dtype_of_all]] * len(dims)
    strides, concrete = _list(inputs.strides), _list(inputs.concrete)
    items: list[Any] = []
    dtype, untyped, shaped, strided = None, False, False, False
    for place, shape in enumerate(dims):
        word = types[place] if place < len(types) else ""
        steps = strides[place] if place < len(strides) else None
        if isinstance(shape, list) and shape and all(map(_is_shape, shape)):
            shaped = shaped or any(shape)
            untyped = untyped or word not in TYPES
            size = TYPES[word][0] if word in TYPES else itemsize
            items.append([_operand(each, size or 0, None) for each in shape])
        elif word in TYPES and _is_shape(shape):
            size, ours = TYPES[word]
            dtype = dtype or ours
            shaped = True
            strided = strided or not _dense(shape, steps)
            items.append(_operand(shape, size, steps))
        elif isinstance(shape, list) and shape and not types:  # shapes without types
            return None
        else:
            items.append(concrete[place] if place < len(concrete) and concrete[place] != "" else None)
    return Arguments(tuple(items), dtype, untyped, strided) if shaped else None


def _list(text: bytes) -> list[Any]:
    try:
        found = msgspec.json.decode(text) if text else []
        if isinstance(found, str):  # some writers leave the list as a text
            found = msgspec.json.decode(found.replace("'", '"'))
    except msgspec.DecodeError:
        return []
    return found if isinstance(found, list) else []


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int for size in value)


def _operand(shape: list[int], itemsize: int, strides: Any) -> Operand:
    elements = 1
    for place, size in enumerate(shape):
        repeated = isinstance(strides, list) and len(strides) == len(shape) and strides[place] == 0
        elements *= 1 if repeated else size
    return Operand(shape=tuple(shape), itemsize=itemsize, elements=elements)


def _dense(shape: list[Any], strides: Any) -> bool:
    """Whether elements follow one another in memory in the order of the dimensions; True where no trace says."""
    if not isinstance(strides, list) or len(strides) != len(shape):
        return True
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def whole_numbers(text: Any) -> tuple[int, ...] | None:
    """A list of whole numbers that a trace holds as text.

    >>> whole_numbers("[1, 2]"), whole_numbers(None)
    ((1, 2), None)
    """
    return tuple(map(int, re.findall(r"-?\d{1,18}", text))) if isinstance(text, str) else None


def is_true(text: Any) -> bool | None:
    """A truth value that a trace holds as text; None where it does not say."""
    return {"True": True, "1": True, "False": False, "0": False}.get(text) if isinstance(text, str) else None
