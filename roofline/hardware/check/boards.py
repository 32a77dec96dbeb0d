"""What every row of a table of boards must obey, beyond the rules of every device."""

from __future__ import annotations

from collections.abc import Iterator

from ..boards import UNREAD, Board, by_dtype, figures
from ..database import load_architecture
from ..device import Figures
from ..ranges import Problem, in_range
from ..sources import missing
from .rules import figure_problems

STATED_TOLERANCE = 0.03  # of a vendor's printed peak against units x FLOPs per cycle x clock
# Best measured matrix product over the peak of a board that is what its row says: cards run a little above the printed
# boost clock, and small ones below it.
_REACHED = (0.8, 1.2)
_EVIDENCE = 2  # documents that were opened, behind confidence high


def board_problems(one: Board) -> Iterator[Problem]:
    """Every rule that a board breaks.

    Raises:
        HardwareError: a cell that cannot be read at all.
    """
    yield from _completeness_problems(one)
    device = figures(one)
    yield from figure_problems(device)
    yield from _stated_problems(one, device)
    yield from _source_problems(one)
    if one.confidence == "high":
        yield from _evidence_problems(one, device)


def _completeness_problems(one: Board) -> Iterator[Problem]:
    for column in ("base_mhz", "boost_mhz", "tensor_mhz"):  # before the peaks, which would be wrong with them
        yield from in_range("mhz", column, getattr(one, column))
    variants = load_architecture(one.architecture).flops_per_cycle
    if variants and one.variant not in variants:
        yield Problem("variant", one.variant, f"{one.architecture} has {', '.join(variants)}")
    if variants and (one.units is None or one.boost_mhz is None):
        yield Problem("units, boost_mhz", None, "needed for the peak: units x FLOPs per cycle x clock")
    if variants and one.peak_tflops:
        rule = f"the rates of {one.architecture} give the peaks; a printed one belongs in stated_tflops"
        yield Problem("peak_tflops", one.peak_tflops, rule)
    if one.power_range_w and one.power_w:
        low, _, high = one.power_range_w.partition("-")
        if not float(low) <= one.power_w <= float(high or "nan"):
            yield Problem("power_range_w", one.power_range_w, f"does not hold power_w = {one.power_w:g}")


def _stated_problems(one: Board, device: Figures) -> Iterator[Problem]:
    sparsity = load_architecture(one.architecture).sparsity
    for dtype, stated in by_dtype(one.stated_tflops, "stated_tflops").items():
        peak = device.peak.get(dtype)
        if peak is None:
            yield Problem(f"stated_tflops.{dtype}", stated, f"{one.architecture} has no {dtype} engine")
        elif abs(stated / peak.tflops - 1) > STATED_TOLERANCE:
            rule = f"units x FLOPs per cycle x clock is {peak.tflops:g} (within {STATED_TOLERANCE:.0%})"
            if sparsity and abs(stated / (sparsity * peak.tflops) - 1) <= STATED_TOLERANCE:
                rule = f"is the {sparsity:g}x sparse figure; the dense one is {peak.tflops:g}"
            yield Problem(f"stated_tflops.{dtype}", stated, rule)
    if one.stated_tflops and not one.stated_in:
        yield Problem("stated_in", one.stated_in, "name the document that states the figures of stated_tflops")


def _source_problems(one: Board) -> Iterator[Problem]:
    for part in one.sources.split("|"):
        key, _, place = part.strip().partition(": ")
        if not key or not place:
            yield Problem("sources", part.strip(), "give document: place, several separated by |")
    if one.stated_in and one.stated_in not in {*one.citations, *UNREAD}:
        yield Problem("stated_in", one.stated_in, "not among the sources of the row")


def _evidence_problems(one: Board, device: Figures) -> Iterator[Problem]:
    opened = [key for key, citation in one.citations.items() if not missing(citation)]
    if len(opened) < _EVIDENCE:
        rule = f"confidence high needs {_EVIDENCE} documents with revision, url and the day they were seen"
        yield Problem("sources", ", ".join(opened), f"{rule}: add one, or say medium")
    reached = [
        tflops / device.peak[dtype].tflops
        for dtype, tflops in by_dtype(one.matmul_tflops, "matmul_tflops").items()
        if dtype in device.peak
    ]
    if any(share > _REACHED[1] for share in reached):
        yield Problem(
            "matmul_tflops", one.matmul_tflops, f"above {_REACHED[1]:g} of the peak: units or clock are wrong"
        )
    confirmed = one.second_source or one.stated_in in opened or any(share >= _REACHED[0] for share in reached)
    if not confirmed:
        rule = "confidence high needs a second source of units x clock: a stated peak, a table, a measured product"
        yield Problem("second_source", one.second_source, rule)
