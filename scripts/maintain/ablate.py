"""What each ingredient of the estimate buys: the error on published runs with one ingredient taken out at a time.

    python scripts/maintain/ablate.py roofline/validation/data/published_runs.csv [--tier A] [--experts]

Nothing is fitted again, so a line shows how much the estimate leans on the ingredient, and errors that the
ingredient compensated count too. The last line takes all of them out: the roofline, a schedule and the bytes on the
links.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from roofline.config.dispatch import dispatchers
from roofline.config.stack import load_stack, stack_names
from roofline.hardware import load_device
from roofline.hardware.measured import Measured
from roofline.timing import schedule
from roofline.validation.rows import read_rows
from roofline.validation.runs import Prediction, predict_runs, predicted, source_of

Change = tuple[Any, str, Any]  # object, field, value without the ingredient


def changes(devices: Sequence[Measured], stacks: Sequence[Any]) -> dict[str, list[Change]]:
    """Ingredient -> the changes that take it out."""

    def put(objects: Sequence[Any], **values: Any) -> list[Change]:
        return [(item, field, value) for item in objects for field, value in values.items()]

    gemms = [g for m in devices for g in (m.gemm, m.gemm_fp8, m.gemm_fp4, m.gemm_fp32, m.grouped_gemm)]
    attention = [entry for m in devices for entry in m.attention.values()]
    streams = [entry for m in devices for entry in m.memory_bound.values()]
    links = [entry for m in devices for entry in m.collective.values()]
    networks = [m.network for m in devices]
    overlap = type(stacks[0].overlap)
    hidden = dict.fromkeys(("data", "tensor", "context", "expert", "pipeline"), 1.0)
    return {
        "tile and wave quantisation": put(gemms, quantisation=0.0),
        "cost of misaligned shapes": put(gemms, misaligned=1.0, misaligned_odd=1.0, misaligned_batch=1.0),
        "attainable matmul rate": put(
            gemms, cap=1.0, k_half=0.0, quantisation=0.0, small_tile=0.0, misaligned=1.0, misaligned_batch=1.0
        )
        + put(gemms, misaligned_odd=1.0, wgrad=1.0, bandwidth=1.0, t0_us=0.0, p=64.0),
        "attention kernels' rates": put(
            attention, cap=1.0, cap_backward=1.0, t0_us=0.0, tile_us=0.0, tile_backward_us=0.0
        )
        + put(attention, softmax_dim=0.0, head_multiple=1, bandwidth=1.0),
        "attainable memory bandwidth": put(streams, bandwidth=1.0, t0_us=0.0),
        "collectives: latency and ramps": put(links, alpha_us=0.0, alpha_rank_us=0.0, ramp_us=0.0)
        + put(networks, alpha_us=0.0, alpha_step_us=0.0, ramp_us=0.0),
        "collectives: attainable rate": put(links, eta=1.0, few_ranks=0.0, shared=0.0)
        + put(networks, eta=1.0, eta_pairs=1.0),
        "launch cost": put(stacks, host_us=0.0),
        "what stacks do not overlap": put(stacks, overlap=overlap(**hidden)),
        "what stacks overlap": put(stacks, overlap=overlap(**dict.fromkeys(hidden, 0.0))),
        "fusions of stacks": put(stacks, fused=frozenset()),
        "recompute that ends early": put(stacks, recompute_ends_early=False),
        "slowdown beside communication": [(schedule, "INTERFERENCE", 0.0)],
        "sustained matrix rate": put([m.sustained for m in devices], compute=1.0, compute_16bit=1.0),
        "stack efficiency": put(stacks, efficiency=1.0),
        **expert_changes(stacks),
    }


def expert_changes(stacks: Sequence[Any]) -> dict[str, list[Change]]:
    """The same for what only layers of experts have."""
    apart = frozenset({"expert_bias", "clamped_activation"})
    return {
        "experts: dealing tokens out": [(stack, "dispatch_us", 0.0) for stack in stacks],
        "experts: no lead of the host": [(schedule, "launches_forward", lambda _: True)],
        "experts: sorting after an all-to-all": [(each, "sorts", False) for each in dispatchers().values()],
        "experts: biases and clamps apart": [(stack, "fused", stack.fused | apart) for stack in stacks],
        "experts: one kernel in whole graphs": [(s, "fused", s.fused - {"expert_epilogue"}) for s in stacks],
        "experts: split like other layers": [(stack, "splits_experts", False) for stack in stacks],
    }


@contextmanager
def without(changed: Sequence[Change]) -> Iterator[None]:
    """Apply the changes, and put the old values back in the end."""

    def assign(item: Any, field: str, value: Any) -> None:
        put = msgspec.structs.force_setattr if isinstance(item, msgspec.Struct) else setattr
        put(item, field, value)

    old = [(item, field, getattr(item, field)) for item, field, _ in changed]
    for item, field, value in changed:
        assign(item, field, value)
    try:
        yield
    finally:
        for item, field, value in reversed(old):
            assign(item, field, value)


def line(name: str, predictions: Sequence[Prediction]) -> str:
    """Name, mean absolute percentage error over rows and over sources, and bias."""
    errors = [(source_of(p), p.log_error) for p in predicted(predictions)]
    sources: dict[str, list[float]] = {}
    for source, error in errors:
        sources.setdefault(source, []).append(abs(math.exp(error) - 1))
    mape = sum(map(sum, sources.values())) / len(errors)
    macro = sum(sum(mine) / len(mine) for mine in sources.values()) / len(sources)
    bias = math.exp(sum(error for _, error in errors) / len(errors)) - 1
    return f"{name:36s} {mape:8.1%} {macro:8.1%} {bias:+8.1%}"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs")
    parser.add_argument("--tier", choices=("A", "B", "all"), default="A")
    parser.add_argument("--experts", action="store_true", help="rows of mixtures of experts alone")
    args = parser.parse_args()
    rows = [row for row in read_rows(args.runs) if args.tier in ("all", row["tier"])]
    rows = [row for row in rows if not args.experts or float(row["n_experts"] or 0) > 1]
    devices = [load_device(name).measured for name in sorted({row["device"] for row in rows})]
    whole = predict_runs(rows)
    variants = {p.stack for p in predicted(whole)} - set(stack_names())  # as of a release
    table = changes(devices, [load_stack(name) for name in (*stack_names(), *sorted(variants))])
    print(f"{'without':36s} {'rows':>8s} {'sources':>8s} {'bias':>8s}   ({len(predicted(whole))} rows)")
    print(line("(nothing taken out)", whole))
    for name, changed in table.items():
        with without(changed):
            print(line(name, predict_runs(rows)), flush=True)
    with without([c for name, changed in table.items() if name != "what stacks overlap" for c in changed]):
        print(line("all of them", predict_runs(rows)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
