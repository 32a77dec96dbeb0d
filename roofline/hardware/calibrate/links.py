"""What the links between the GPUs of this machine reach: all-reduces over two and over all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ..device import Device
from ..host import Host
from .fit import spread
from .tables import MEASURED

SIZES = (2**12, 2**20, 2**28)  # bytes: latency alone, between, bandwidth alone
_REPEATS = 5
_LEAST_SPREAD = 0.1  # of a range over repeats on one machine: other loads, other layouts


class LinkSample(msgspec.Struct, frozen=True, kw_only=True):
    """One all-reduce of `bytes` over `ranks` GPUs: seconds of each repeat."""

    ranks: int
    bytes: int
    rounds: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """The best repeat."""
        return min(self.rounds)

    @property
    def bus_bytes_per_s(self) -> float:
        """Bytes that each rank sends on a ring, per second (NCCL's bus bandwidth)."""
        return 2 * (self.ranks - 1) / self.ranks * self.bytes / self.seconds


def measure_links(torch: Any, *, now: Callable[[], float] = time.perf_counter) -> tuple[LinkSample, ...]:
    """All-reduces over two and all GPUs of this process through NCCL; none with one GPU.

    Raises:
        RuntimeError: NCCL does not run here.
    """
    count = torch.cuda.device_count()
    samples = []
    for ranks in dict.fromkeys((2, count)):
        if count < 2:
            break
        for size in SIZES:
            buffers = [torch.ones(size // 4, dtype=torch.float32, device=f"cuda:{rank}") for rank in range(ranks)]
            rounds = []
            for repeat in range(_REPEATS + 1):
                begin = now()
                torch.cuda.nccl.all_reduce(buffers)
                for rank in range(ranks):
                    torch.cuda.synchronize(rank)
                if repeat:  # the first one sets up the communicator
                    rounds.append(now() - begin)
            samples.append(LinkSample(ranks=ranks, bytes=size, rounds=tuple(rounds)))
    return tuple(samples)


def with_links(device: Device, samples: Sequence[LinkSample]) -> Device:
    """`device` with the rate and latency of its links as measured; collectives keep their ratio to the all-reduce."""
    large = {s.ranks: s for s in samples if s.bytes == max(SIZES)}
    small = {s.ranks: s for s in samples if s.bytes == min(SIZES)}
    if not large:
        return device
    ranks = max(large)
    rate, latency_us = large[ranks].bus_bytes_per_s, float(f"{1e6 * small[min(small)].seconds:.4g}")
    if "scale_up" in device.links:
        table = {"alpha_us": latency_us, **_of_fast_links(device, large[ranks]), "source": MEASURED}
        tables = {**device.measured_tables, "collective": {"all_reduce": table}}
        return msgspec.structs.replace(device, measured_tables=tables)
    if device.between is None or "pcie" not in device.links:
        return device
    host = _host(device.between, rate, device.links["pcie"].bytes_per_s, ranks, latency_us, large[ranks])
    return msgspec.structs.replace(device, host=host, between=host)


def _of_fast_links(device: Device, sample: LinkSample) -> dict[str, float]:
    """The share of the links that a large all-reduce reached: in the switch where it reduces there, else on a ring."""
    known, ranks, link = device.measured.collective["all_reduce"], sample.ranks, device.scale_up_bytes_per_s
    if known.switch_eta is not None:
        return {"switch_eta": _share((ranks + 1) / ranks * sample.bytes / sample.seconds / link)}
    return {"eta": _share(sample.bus_bytes_per_s / link / (1 - known.few_ranks / ranks))}


def _host(kind: Host, rate: float, link: float, ranks: int, latency_us: float, sample: LinkSample) -> Host:
    """A host of this kind at the rate that was measured."""
    reference = kind.collective["all_reduce"]
    shape = (2 / ranks) ** reference.shared
    expected = reference.eta * link * shape
    if reference.gb_per_s is not None:
        expected = min(expected, reference.gb_per_s * 1e9)
    scale = rate / expected
    collective = {
        name: msgspec.structs.replace(
            entry,
            alpha_us=latency_us if name == "all_reduce" else entry.alpha_us,
            eta=_share(entry.eta * scale) if entry.gb_per_s is None else entry.eta,
            gb_per_s=None if entry.gb_per_s is None else float(f"{entry.gb_per_s * scale:.4g}"),
            source=MEASURED if name == "all_reduce" else f"{entry.source}; at this machine's all-reduce",
            origin="device",
            rows=None,
            mape=None,
        )
        for name, entry in kind.collective.items()
    }
    middle = rate / 1e9 if reference.gb_per_s is not None else rate / link
    half = max(spread(sample.rounds), _LEAST_SPREAD) / 2
    return Host(
        words=f"as measured here ({kind.words})",
        low=float(f"{middle * (1 - half):.4g}"),
        high=float(f"{middle * (1 + half):.4g}"),
        source=MEASURED,
        collective=collective,
    )


def _share(value: float) -> float:
    """A share of a rate, in four digits, at most 1."""
    return float(f"{min(value, 1.0):.4g}")
