"""What was measured on this machine, as people read it and as programs do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..hardware.calibrate.tables import from_cache
from .devices import data as device_data
from .table import Shown, Table
from .words import sentence, sentences

if TYPE_CHECKING:
    from ..hardware import Device
    from ..hardware.calibrate.calibrate import Calibration
    from ..validation.calibration import Held


def measured(calibration: Calibration, held: Held | None, path: str, *, named: str, doubts: Sequence[str]) -> Shown:
    """Every kernel that was measured and the constants fitted.

    Args:
        calibration: What was measured.
        held: The step of a small model beside its estimate.
        path: The device file.
        named: How to give it to ``--device``.
        doubts: Why the file was not written; none where it was.
    """
    device = calibration.device if held is None else held.device
    data: dict[str, Any] = {
        "device": device_data(device),
        "measured": device.measured_tables,
        "samples": calibration.samples,
        "median_spread": calibration.median_spread,
        "spread": device.spread,
        "noisy": list(calibration.noisy),
        "step": None if held is None else {"measured_s": held.measured_s, "expected_s": held.expected_s},
        "notes": list(calibration.notes),
        "file": None if doubts else path,
    }
    rows = [
        [s.name, s.dtype, f"{1e6 * s.seconds:,.1f} us", _rate(s), _share(s, device), f"{100 * s.spread:.0f} %"]
        for s in calibration.samples
    ]
    columns = ["kernel", "dtype", "time", "rate", "of peak or bandwidth", "spread"]
    kernels = Table("Measured", columns, rows, align="llrrrr")
    fits = Table("Fitted constants", ["kernel", "constants"], list(_constants(device)), align="ll")
    peaks = ", ".join(f"{dtype} {1e-9 * peak:,.0f}" for dtype, peak in device.peaks.items())
    caches = ", ".join(f"{c.level} {c.gb_per_s:g}" for c in device.caches if c.gb_per_s)
    notes = [
        f"{device.name}: peak {peaks} GFLOP/s; memory {device.memory.bandwidth.gb_per_s:g} GB/s"
        + (f" (caches: {caches})" if caches else ""),
        f"{device.sources['calibration']}.",
        *(sentences([held.words]) if held is not None else []),
        *([_interval(device)] if device.spread else []),
        *map(sentence, calibration.notes),
        _written(path, named, doubts),
    ]
    return Shown(data, [kernels, fits], notes)


def _interval(device: Device) -> str:
    return f"Estimates with it are that much less sure: {100 * (device.spread or 0):.2g} % (standard deviation)."


def _written(path: str, named: str, doubts: Sequence[str]) -> str:
    if not doubts:
        return f"Written: {path}. Use it with --device {named}, e.g. roofline estimate gpt2 --device {named}."
    return (
        f"NOT written to {path}, where --device local would read it: {'; '.join(doubts)}. "
        "Run again on a quiet machine, or --force; --output FILE.toml writes it elsewhere."
    )


def _rate(sample: Any) -> str:
    if sample.flops:
        return f"{sample.flops / sample.seconds / 1e9:,.1f} GFLOP/s"
    return f"{sample.bytes / sample.seconds / 1e9:,.1f} GB/s" if sample.bytes else "-"


def _share(sample: Any, device: Any) -> str:
    if sample.flops and sample.dtype in device.peaks:
        return f"{100 * sample.flops / sample.seconds / device.peaks[sample.dtype]:.0f} %"
    if sample.bytes and not sample.flops:
        share = sample.bytes / sample.seconds / device.memory_bandwidth_bytes_per_s
        return f"{100 * share:.0f} %" + (", from cache" if _cached(sample, device, share) else "")
    return "-"


def _cached(sample: Any, device: Any, share: float) -> bool:
    """Whether the caches served a kernel: its operands fit, or its later passes find them there."""
    return from_cache(sample, device) or (share > 1 and sample.group != "stream" and device.kind == "cpu")


def _constants(device: Any) -> Iterator[list[str]]:
    for name, table in device.measured_tables.items():
        nested = {name: table} if "source" in table else {f"{name}.{key}": entry for key, entry in table.items()}
        for label, entry in nested.items():
            yield [label, ", ".join(f"{key} {value:g}" for key, value in entry.items() if key != "source")]
