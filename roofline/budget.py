"""Plans a whole training run: tokens, devices, deadline and budget, each from the others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .errors import RooflineError
from .layout import Layout, SearchResult
from .mfu import model_flops_per_token
from .model import ModelConfig
from .parameters import count_parameters
from .presets import load_model
from .runcost import COMPUTE_OPTIMAL, HOUR, Plan, Scaling, Terms, run_cost
from .search import layouts
from .units import format_bytes, format_share, format_time

if TYPE_CHECKING:
    from hardware import Device

SIMPLER = 0.02  # a layout with less machinery is taken if it is at most this much slower
MOST_DEVICES = 2**17


class DoesNotFit(RooflineError):  # noqa: N818  (says what is wrong, as RooflineError subclasses do)
    """No layout fits in memory: the command line exits with 3."""


def plan(
    model: str | Path | ModelConfig,
    device: str | Path | Device,
    *,
    tokens: int | str | None = None,
    num_devices: int | None = None,
    deadline_s: float | None = None,
    budget: float | None = None,
    terms: Terms | None = None,
    doubling: bool = False,
    **options: Any,
) -> Plan:
    """Plan a training run on the best layout, or on the one that `options` leave.

    Tokens and devices give time and cost; tokens and a deadline give the devices; tokens and a budget give
    the most devices it pays for; devices and a deadline or budget give the tokens.

    Args:
        model: As for `estimate`.
        device: As for `estimate`.
        tokens: Tokens to train on, or ``chinchilla`` for 20 per parameter.
        num_devices: Devices; default 1 unless it is what is asked for.
        deadline_s: Seconds the whole run may take.
        budget: Money the whole run may cost; needs ``terms.price``.
        terms: Price, carbon intensity, power and overhead.
        doubling: Whether to work out what twice the devices give.
        **options: Fields of `TrainConfig`; they restrict the search for a layout (see `search.layouts`).

    Raises:
        DoesNotFit: No layout fits in memory.
        RooflineError: Too little or contradictory is given, or no number of devices meets the deadline.
    """
    from hardware import load_device

    planner = _Planner(load_model(model), load_device(device), terms or Terms(), options)
    if budget is not None and planner.terms.price is None:
        raise RooflineError(
            "a budget in money needs a price per device-hour: add --price, such as --price 2.5/h"
        )
    count = chinchilla_tokens(planner.model) if tokens == "chinchilla" else tokens
    if count is None:
        if deadline_s is None and budget is None:
            raise RooflineError(
                "nothing to plan: give --tokens (300B, or chinchilla), or a --deadline or --budget to fill"
            )
        found = planner.tokens_within(num_devices or 1, deadline_s, budget)
    elif num_devices is None and (deadline_s is not None or budget is not None):
        found = planner.devices_for(int(count), deadline_s, budget)
    else:
        found = planner.run(num_devices or 1, int(count))
    layout, settled = found
    one = run_cost(
        planner.model, planner.device, layout, settled, planner.terms, planner.notes[layout.num_devices]
    )
    return msgspec.structs.replace(one, doubling=planner.doubled(one)) if doubling else one


def chinchilla_tokens(model: ModelConfig) -> int:
    """Compute-optimal tokens: 20 per parameter (arXiv:2203.15556)."""
    return COMPUTE_OPTIMAL * count_parameters(model).total


class _Planner:
    """The arithmetic, with what stays the same over all numbers of devices."""

    def __init__(self, model: ModelConfig, device: Device, terms: Terms, options: dict[str, Any]) -> None:
        self.model, self.device, self.terms, self.options = model, device, terms, options
        self.notes: dict[int, tuple[str, ...]] = {}  # by number of devices

    def best(self, num_devices: int, **fixed: int) -> Layout:
        """The fastest layout of `num_devices`, or the simplest that is hardly slower.

        Raises:
            DoesNotFit: None fits.
        """
        found = layouts(
            self.model,
            self.device,
            num_devices=num_devices,
            top=1,
            tolerance=SIMPLER,
            **{**self.options, **fixed},
        )
        if found.simplest is None:
            raise DoesNotFit(self._short(found, num_devices))
        self.notes[num_devices] = found.notes
        return found.simplest

    def _short(self, found: SearchResult, num_devices: int) -> str:
        smallest = found.smallest
        needed = f": it needs {format_bytes(smallest.memory_bytes)} per device at least" if smallest else ""
        return (
            f"{self.model.name} does not fit on {num_devices:,} x {self.device.id} of "
            f"{format_bytes(self.device.memory_bytes)}"
            f"{needed} ({found.evaluated:,} layouts tried): use more devices, a shorter --seq-len, or "
            "--stack fsdp"
        )

    def wall_time(self, layout: Layout, tokens: int) -> float:
        """Expected seconds of the whole run."""
        return self.steps(layout, tokens) * layout.step_time_s * self.terms.overhead[1]

    def steps(self, layout: Layout, tokens: int) -> int:
        """Optimizer steps."""
        return -(-tokens // int(layout.train.tokens_per_step))

    def cost(self, layout: Layout, tokens: int) -> float:
        """Money; infinite without a price."""
        hours = self.wall_time(layout, tokens) / HOUR * layout.num_devices
        return hours * (self.terms.price if self.terms.price is not None else math.inf)

    def run(self, num_devices: int, tokens: int) -> tuple[Layout, int]:
        """Tokens on so many devices."""
        return self.best(num_devices), tokens

    def tokens_within(
        self, num_devices: int, deadline_s: float | None, budget: float | None
    ) -> tuple[Layout, int]:
        """The most tokens within a deadline and a budget, in whole steps."""
        layout = self.best(num_devices)
        seconds = math.inf if deadline_s is None else deadline_s
        if budget is not None and self.terms.price is not None:
            seconds = min(seconds, budget / self.terms.price / num_devices * HOUR)
        step = layout.step_time_s * self.terms.overhead[1]
        steps = int(seconds // step)
        if steps < 1:
            raise RooflineError(
                f"{format_time(seconds)} is less than one step of {format_time(step)} on "
                f"{num_devices:,} x {self.device.id}"
            )
        return layout, steps * int(layout.train.tokens_per_step)

    def devices_for(self, tokens: int, deadline_s: float | None, budget: float | None) -> tuple[Layout, int]:
        """The fewest devices that meet the deadline; without one, the most that the budget pays for.

        Raises:
            RooflineError: None does; the message says what stands in the way.
        """
        best: Layout | None = None
        fits = False
        for layout in self._ladder(tokens, deadline_s):
            fits = True
            affordable = budget is None or self.cost(layout, tokens) <= budget
            in_time = deadline_s is None or self.wall_time(layout, tokens) <= deadline_s
            if deadline_s is not None and in_time and affordable:
                return layout, tokens
            if best is not None and deadline_s is None and not affordable:
                return best, tokens
            faster = best is None or layout.step_time_s < best.step_time_s
            if (deadline_s is not None and faster) or (deadline_s is None and affordable and faster):
                best = layout
        if not fits:
            raise DoesNotFit(
                f"{self.model.name} fits on no number of {self.device.id} up to {MOST_DEVICES:,}"
            )
        if best is not None and deadline_s is None:
            return best, tokens
        raise RooflineError(self._out_of_reach(best, tokens, deadline_s, budget))

    def _ladder(self, tokens: int, deadline_s: float | None) -> Iterator[Layout]:
        """The best layout of rising numbers of devices, from what 100 % of peak would need on."""
        peak = self.device.peak_flops_per_s(self.options.get("dtype", "bf16"))
        flops = float(model_flops_per_token(self.model, self._seq_len())) * tokens
        least = 1 if deadline_s is None else flops / peak / deadline_s
        failures = 0
        for count in _device_counts(self.device.devices_per_node):
            if count < least:
                continue
            try:
                layout = self.best(count)
            except DoesNotFit:
                continue
            except RooflineError:  # no layout divides the batch: larger numbers will not either, soon
                failures += 1
                if failures > 4:
                    return
                continue
            failures = 0
            yield layout

    def _seq_len(self) -> int:
        from .training import default_seq_len

        return int(self.options.get("seq_len") or default_seq_len(self.model))

    def _out_of_reach(
        self, best: Layout | None, tokens: int, deadline_s: float | None, budget: float | None
    ) -> str:
        if best is None:
            return (
                f"a budget of {budget:,.0f} does not pay for {tokens:,} tokens on {self.device.id}: use fewer"
            )
        wall = self.wall_time(best, tokens)
        if deadline_s is not None and wall <= deadline_s:
            return (
                f"the deadline of {format_time(deadline_s)} and the budget of {budget:,.0f} "
                f"contradict: {best.num_devices:,} x "
                f"{self.device.id} meet the deadline and cost {self.cost(best, tokens):,.0f}"
            )
        largest = _largest_term(self.model, self.device, best)
        batch = int(best.train.global_batch or 1)
        return (
            f"no number of {self.device.id} trains {tokens:,} tokens in "
            f"{format_time(deadline_s or 0)}: the fastest found, "
            f"{best.num_devices:,} devices, take {format_time(wall)}, with {largest}; the global "
            f"batch of {batch:,} sequences "
            "limits how far the work splits: raise --global-batch, or train on fewer tokens"
        )

    def doubled(self, one: Plan) -> Scaling | None:
        """What twice the devices give at the same global batch; None where there is no such layout."""
        try:
            layout = self.best(2 * one.num_devices, global_batch=int(one.layout.train.global_batch or 1))
        except ValueError:  # no layout, or no figure for the links (HardwareError)
            return None
        wall = self.wall_time(layout, one.tokens)
        return Scaling(num_devices=layout.num_devices, wall_time_s=wall, speedup=one.wall_time_s / wall)


def _device_counts(node: int) -> Iterator[int]:
    """1, 2, 4, ... within a node, then 1, 2, 3, 4, 6, 8, 12, ... nodes."""
    count = 1
    while count < node:
        yield count
        count *= 2
    nodes = 1
    while node * nodes <= MOST_DEVICES:
        yield node * nodes
        if nodes >= 2:
            yield node * nodes * 3 // 2
        nodes *= 2


def _largest_term(model: ModelConfig, device: Device, layout: Layout) -> str:
    from .estimate import estimate_step
    from .report import TERM_WORDS
    from .step import build_step

    waterfall = estimate_step(build_step(model, layout.train), device).waterfall
    worst = max(waterfall, key=lambda step: float(step.lost))
    return f"{format_share(float(worst.lost))} of the peak lost to {TERM_WORDS.get(worst.term, worst.term)}"
