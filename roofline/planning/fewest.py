"""The fewest devices that meet a deadline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Protocol

from ..config.defaults import default_dtype
from ..counting.mfu import model_flops_per_token

if TYPE_CHECKING:
    from ..hardware import Device
    from ..model.spec import ModelConfig
    from ..search.layout import Layout

SCANNED = 3  # numbers of devices tried one by one; more are halved first
STEPS = 64  # of a large number of devices, in which it is refined
USUAL_MFU = 0.4  # where the search starts; what it finds decides whether it goes down or up
RELIEF = 1.25  # how much more efficient each of more devices may be, as less of the model lies on it
WORDS = ("stack", "sharding", "sequence_parallel", "recompute")  # as good on a few more or fewer devices


class Planner(Protocol):
    """What is asked of `devices.Planner` here."""

    model: ModelConfig
    device: Device
    options: dict[str, Any]

    @property
    def seq_len(self) -> int:
        """Tokens of a sequence."""

    def wall_time(self, layout: Layout, tokens: int) -> float:
        """Seconds of the whole run that suffice with the confidence asked for."""

    def layout_on(self, num_devices: int, **fixed: Any) -> Layout | None:
        """The best layout, or the best of those with fixed options; None where none fits."""

    def ladder(self, least: Callable[[], float]) -> Iterator[Layout]:
        """The best layout of rising numbers of devices."""

    def largest(self) -> Layout:
        """The layout of the largest number of devices that has one at all."""


def least(planner: Planner, tokens: int, deadline_s: float) -> float:
    """Devices that a deadline needs at 100 % of peak."""
    device = planner.device
    peak = device.peak_flops_per_s(planner.options.get("dtype") or default_dtype(device))
    return float(model_flops_per_token(planner.model, planner.seq_len)) * tokens / peak / deadline_s


def fewest(planner: Planner, tokens: int, deadline_s: float) -> Layout:
    """The layout of the fewest devices that meet a deadline, in whole nodes beyond one; the fastest where none does.

    A batch that is given may be fastest on fewer devices than a deadline needs.

    Raises:
        RooflineError: No number of devices has a layout.
    """
    late: Layout | None = None  # the fastest that does not meet it
    below = 0  # devices of the last rung
    needed = [least(planner, tokens, deadline_s) / USUAL_MFU]  # rises with what is found
    for layout in planner.ladder(lambda: needed[0]):
        seconds = planner.wall_time(layout, tokens)
        if seconds <= deadline_s:
            return _refined(planner, layout, below, tokens, deadline_s)
        below = layout.num_devices
        needed[0] = below * seconds / deadline_s / RELIEF
        if late is None or seconds < planner.wall_time(late, tokens):
            late = layout
    fastest = late or planner.largest()
    if planner.options.get("global_batch") is None:
        return fastest
    fewer = takewhile(lambda layout: layout.num_devices < fastest.num_devices, planner.ladder(lambda: 1))
    return min((fastest, *fewer), key=lambda layout: planner.wall_time(layout, tokens))


def _refined(planner: Planner, layout: Layout, below: int, tokens: int, deadline_s: float) -> Layout:
    """The fewest whole nodes that still meet the deadline, more than `below` devices: halved, then one by one.

    Of many nodes in steps of at most a 64th. On the way there the words of `layout` are kept.
    """

    def in_time(found: Layout | None) -> bool:
        return found is not None and planner.wall_time(found, tokens) <= deadline_s

    @cache
    def likely(steps: int) -> bool:
        kept = {name: getattr(layout.train, name) for name in WORDS if name not in planner.options}
        return in_time(planner.layout_on(steps * step, **kept))

    node = planner.device.devices_per_node
    grain = 2 ** max(int(math.log2(layout.num_devices / node / STEPS)), 0) if layout.num_devices >= node else 1
    step = node * grain
    # fewer would have to be more than 5 % more efficient each
    lowest = 0.95 * layout.num_devices * planner.wall_time(layout, tokens) / deadline_s
    low = math.ceil(max((below // node + 1) * node, lowest) / step)
    high = top = layout.num_devices // step
    while high - low > SCANNED:
        middle = (low + high) // 2
        low, high = (low, middle) if likely(middle) else (middle + 1, high)
    for steps in filter(likely, range(low, top)):
        found = planner.layout_on(steps * step)
        if found is not None and in_time(found):
            return found
    return layout
