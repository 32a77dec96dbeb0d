"""One step that was timed on the user's own cluster, as what the device is then known to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from .. import units
from ..config.options import is_every, read_one
from ..config.settle import Run
from ..config.words import layout_words
from ..counting.step import build_step
from ..errors import RooflineError, shown
from ..hardware.seen import Seen
from ..timing.seen import SHARED, tells_of
from .asked import run_of
from .times import estimate_times

if TYPE_CHECKING:
    from ..config.run import TrainConfig
    from ..hardware import Device
    from .asked import Described

FAR = 10  # times the expected step time, either way: a unit or a configuration is wrong, and nothing is learnt


def learnt(run: Run, measured: float | str | None, measured_at: Mapping[str, Any] | str | None = None) -> Device:
    """The device of a cluster where one step was timed: every estimate on it is drawn towards what was seen.

    Args:
        run: The run that was timed, but for `measured_at`.
        measured: What a step took: seconds, or text with a unit; None: nothing was timed.
        measured_at: Options in which the timed run differs, as a mapping or ``"tp=8,micro_batch=2"``.

    Raises:
        RooflineError: No time, no such option, several configurations, or a time that the configuration cannot take.
    """
    device: Device = run.device
    at = _read(measured, measured_at)
    if measured is None:
        return device
    seconds = float(read_one("measured", measured, units.step_time_s))
    timed = (run.changed(**at) if at else run).alone("a step that was measured")
    times = estimate_times(build_step(timed.model, timed.train), msgspec.structs.replace(device, seen=None))
    words = f"{layout_words(timed.train)}, micro batch {timed.train.micro_batch:g}, {timed.train.stack}"
    expected, ideal = float(times.expected), float(times.ideal)
    took = f"measured: {units.format_time(seconds)} for {timed.model.name} on {words}"
    check = "check the time, and that measured_at says how that step was run"
    if seconds < ideal:
        raise RooflineError(f"{took} is faster than the device's peaks allow ({units.format_time(ideal)}): {check}")
    if seconds > FAR * expected:
        raise RooflineError(f"{took} is over {FAR} times the {units.format_time(expected)} expected: {check}")
    seen = Seen(model=timed.model, train=timed.train, words=words, seconds=seconds, expected_s=expected)
    return msgspec.structs.replace(device, seen=seen)


def of_search(
    model: Described,
    device: Device,
    options: Mapping[str, Any],
    measured: float | str | None,
    measured_at: Mapping[str, Any] | str | None,
) -> Device:
    """As `learnt`, where `options` restrict a search: what was timed is one layout, said by `measured_at`.

    Raises:
        RooflineError: It is not said.
    """
    at = _read(measured, measured_at)
    if measured is None:
        return device
    if not at:
        raise RooflineError(
            "measured: a search has many layouts: say which was timed with measured_at (--measured-at), "
            "as in tp=8,micro_batch=2"
        )
    several = {name for name, value in options.items() if isinstance(value, list | tuple) or is_every(name, value)}
    said = {name: value for name, value in options.items() if name not in several - at.keys()}
    return learnt(run_of(model, device, {**said, **at}), measured)


def _read(measured: float | str | None, measured_at: Mapping[str, Any] | str | None) -> dict[str, Any]:
    """Options as a mapping, or as text; a value may hold commas."""
    if measured_at is None:
        return {}
    if measured is None:
        raise RooflineError(f"measured_at {shown(measured_at)} needs measured: what a step took, such as 13.8s")
    if isinstance(measured_at, Mapping):
        return dict(measured_at)
    if not isinstance(measured_at, str):
        raise RooflineError(f"measured_at must be options, as in tp=8,micro_batch=2, got {shown(measured_at)}")
    found = {}
    for part in re.split(r",(?=\s*[\w-]+\s*=)", measured_at):
        name, equals, value = part.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise RooflineError(f"measured_at {shown(measured_at)}: write options as in tp=8,micro_batch=2")
        found[name.strip().replace("-", "_")] = value.strip()
    return found


def seen_notes(train: TrainConfig, device: Device) -> list[str]:
    """What was seen on the cluster, and what that does to the estimate of a run, as sentences."""
    seen = device.seen
    if seen is None:
        return []
    took = (
        f"measured: {units.format_time(seen.seconds)} a step of {seen.model.name} on {seen.words}, "
        f"where {units.format_time(seen.expected_s)} were expected"
    )
    if not tells_of(seen, train):
        return [f"{took}; it says nothing of other software, such as {train.stack}"]
    parts = "{layout:g} of it where the layout is the same, {model:g} where the model is, {software:g} on other models"
    return [f"{took}; other settings of that software are moved by {parts.format(**SHARED)}, and are surer"]
