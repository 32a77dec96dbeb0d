"""What we expect of an operator of a trace on its device: the time of each of its kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..counting.op import Form, Op
from ..errors import RooflineError
from ..timing import kernel
from ..tracing.rules import Cost

if TYPE_CHECKING:
    from ..hardware import Device

_ENGINES = {"matmul", "attention"}


class Expectation(msgspec.Struct, frozen=True):
    """Seconds of one run: expected, and at the datasheet's figures; None without a device or an engine for it."""

    expected_s: float | None
    ideal_s: float | None


NOTHING = Expectation(None, None)


def expectation(
    name: str, costs: list[Cost], dtype: str, phase: str, device: Device | None, attention: str
) -> Expectation:
    """The time of the kernels of operator `name`, one after another."""
    if device is None:
        return NOTHING
    attention = attention if attention in device.measured.attention else "flash2"
    expected = ideal = 0.0
    for cost in costs:
        op = as_op(name, cost, dtype, phase)
        try:
            ideal += float(kernel.ideal_time(op, device))
            expected += float(kernel.expected_time(op, device, attention=attention))
        except RooflineError:  # no engine for this dtype
            return NOTHING
    return Expectation(expected, ideal)


def as_op(name: str, cost: Cost, dtype: str, phase: str) -> Op:
    """A kernel of a trace as the op that we time.

    A weight gradient is a plain matmul here: what adds it up in fp32 is an operator of its own in a trace.
    """
    form: Form = "batched" if "bmm" in name else "grouped" if "grouped_mm" in name else "dense"
    extra: dict[str, Any] = {"shape": cost.shape, "form": form} if cost.kind in _ENGINES else {}
    return Op(
        name=name,
        kind=cost.kind,
        phase=phase,  # type: ignore[arg-type]
        part="step",
        dtype=dtype,
        flops=cost.flops,
        bytes_read=cost.read,
        bytes_written=cost.written,
        kernels=cost.kernels,
        **extra,
    )
