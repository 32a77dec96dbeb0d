"""A profile as a roofline: ops where they were measured, with the rate we expect of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RooflineError
from ..units import format_time
from .build import roof_of
from .data import Panel, Point, RooflineData

if TYPE_CHECKING:
    from ..profiling.result import MeasuredOp, Profile

SHOWN_SHARE = 1e-3  # of the steps: hundreds of small ops would hide the rest
LATENCY_ALONE = 1e4  # times slower than the roofline allows: a kernel's fixed time, and no place on the plane


def measured_data(result: Profile) -> RooflineData:
    """The ops that have FLOPs, on the roofline of the trace's device.

    Raises:
        RooflineError: The device is not known, or no op has FLOPs.
    """
    if result.device is None:
        raise RooflineError(f"a roofline needs a device: {result.device_name!r} is not known; give --device")
    whole = sum(step.time_s for step in result.steps)
    groups: dict[tuple[str, str, str, str], list[MeasuredOp]] = {}
    for op in result.ops:
        if op.flops and op.bytes and op.ideal_time_s:
            groups.setdefault((op.name, op.kind, op.phase, op.dtype or ""), []).append(op)
    every = [_point(result.device.id, key, ops, whole) for key, ops in groups.items()]
    points = [point for point in every if point.share >= SHOWN_SHARE and _on_plane(point)] or every
    if not points:
        raise RooflineError("nothing to draw: no operator of the trace has FLOPs (record_shapes=True records shapes)")
    dtypes = {point.dtype for point in points if point.kind in {"matmul", "attention"}}
    known = [dtype for dtype in dtypes if dtype in result.device.peaks]
    caption = f"measured step {format_time(result.step_time_s)}"
    if result.mfu is not None:
        caption += f", MFU {100 * result.mfu:.1f} %"
    panel = Panel(
        roof=roof_of(result.device, result.dtype if result.dtype in result.device.peaks else None, known, by_use=True),
        points=tuple(sorted(points, key=lambda point: -point.seconds)),
        rest=max(1.0 - sum(point.share for point in points), 0.0),
        caption=caption,
    )
    title = result.files[0].rsplit("/", 1)[-1]
    return RooflineData(title=title, panels=(panel,), measured=True)


def _on_plane(point: Point) -> bool:
    return point.ideal_flops_per_s < LATENCY_ALONE * point.flops_per_s


def _point(device: str, key: tuple[str, str, str, str], ops: list[MeasuredOp], whole: float) -> Point:
    name, kind, phase, dtype = key
    flops = sum(op.flops or 0 for op in ops)
    seconds = sum(op.time_s for op in ops)
    expected = sum(op.expected_time_s or 0 for op in ops)
    return Point(
        device=device,
        name=name.removeprefix("aten::"),
        kind=kind,
        phase=phase,
        dtype=dtype,
        intensity=flops / sum(op.bytes or 0 for op in ops),
        flops_per_s=flops / seconds,
        ideal_flops_per_s=flops / sum(op.ideal_time_s or 0 for op in ops),
        seconds=seconds,
        share=seconds / whole,
        expected_flops_per_s=flops / expected if expected else None,
    )
