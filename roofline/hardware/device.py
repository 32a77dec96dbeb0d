"""What a device is: the figures of one file under ``devices/``, each with its source.

The fields are the keys of the file (units in their names); the properties are what the estimator reads
(FLOP/s, bytes, bytes per second, watts).
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from ..errors import shown, unknown
from ..gate import TEXT, gated
from .architecture import Architecture
from .errors import HardwareError
from .host import Host, HostKind
from .measured import Measured
from .sections import (
    DTYPES,
    BestMatmul,
    Cache,
    Citation,
    Clock,
    Confidence,
    Dtype,
    Kind,
    Link,
    LinkKey,
    Memory,
    Node,
    OtherPeak,
    Peak,
    Power,
    Settled,
    Wrong,
)
from .seen import Seen

# Block-scaled formats run on the same engine at the same rate (OCP Microscaling Formats specification 1.0).
SAME_ENGINE = {"mxfp8": "fp8", "nvfp4": "fp4", "mxfp4": "fp4"}
# What to train in where an engine is missing, best first.
_INSTEAD = {
    "bf16": ("fp16", "fp32"),
    "fp16": ("bf16", "fp32"),
    "tf32": ("fp32",),
    "fp8": ("bf16", "fp16"),
    "fp4": ("fp8", "bf16"),
    "fp64": ("fp32",),
    "int8": ("fp8", "bf16"),
    "fp32": ("tf32", "bf16"),
}


class Figures(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """What one device file says, key by key; properties are in base units, and peaks are dense.

    Attributes:
        rare: A variant that few people have: a name that fits it and others does not mean it.
    """

    id: str
    name: str
    vendor: str
    kind: Kind
    architecture: str
    confidence: Confidence
    sources: Mapping[str, str | Citation]
    peak: dict[Dtype, Peak]
    memory: Memory
    variant: str | None = None
    nvml_names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    rare: bool = False
    form_factor: str | None = None
    release_year: int | None = None
    compute_capability: str | None = None
    units: int | None = None
    unit: str | None = None
    spread: float | None = None
    caveats: tuple[str, ...] = ()
    checked_against: tuple[str, ...] = ()
    clock: Clock | None = None
    other_peaks: tuple[OtherPeak, ...] = ()
    caches: tuple[Cache, ...] = ()
    links: dict[LinkKey, Link] = {}
    host: HostKind | Host | None = None
    node: Node | None = None
    power: Power | None = None
    best_matmul: BestMatmul | None = None
    wrong: tuple[Wrong, ...] = ()
    settled: tuple[Settled, ...] = ()
    measured_tables: dict[str, Any] = msgspec.field(name="measured", default_factory=dict)

    @cached_property
    def peaks(self) -> dict[str, float]:
        """Dense peak of each dtype the device has an engine for, in FLOP/s."""
        return {dtype: float(round(peak.tflops * 1e12)) for dtype, peak in self.peak.items()}

    def peak_flops_per_s(self, dtype: str) -> float:
        """Dense peak in FLOP/s, fp32 accumulate.

        Raises:
            HardwareError: unknown dtype word, or a dtype this device has no engine for.
        """
        if not isinstance(dtype, str):
            raise HardwareError(f"a dtype is a word such as bf16, got {shown(dtype)}")
        dtype = SAME_ENGINE.get(dtype, dtype)
        try:
            return self.peaks[dtype]
        except KeyError:
            raise HardwareError(self._no_peak(dtype)) from None

    def _no_peak(self, dtype: str) -> str:
        if dtype not in DTYPES:
            return f"unknown dtype {shown(dtype)} (allowed: {', '.join((*DTYPES, *SAME_ENGINE))})"
        if not self.peak:
            return (
                f"{self.id} has no published peak for any dtype: give it with --peak-tflops {dtype}=..., "
                "or measure it with 'roofline calibrate'"
            )
        have = ", ".join(f"{name} {peak.tflops:g}" for name, peak in self.peak.items())
        instead = next((name for name in _INSTEAD[dtype] if name in self.peak), next(iter(self.peak)))
        notes = "".join(f"; {note.note}" for note in self.settled if note.figure == dtype)
        return (
            f"{self.id} has no {dtype} engine (dense TFLOP/s: {have}{notes}): use --dtype {instead}, "
            f"or give the rate you know with --peak-tflops {dtype}=..."
        )

    @property
    def memory_bytes(self) -> int:
        """Capacity as the driver reports it, in bytes."""
        return round(self.memory.capacity.mib * 2**20)

    @cached_property
    def memory_bandwidth_bytes_per_s(self) -> float:
        """Datasheet memory bandwidth, in bytes per second."""
        return self.memory.bandwidth.gb_per_s * 1e9

    @property
    def clock_hz(self) -> float | None:
        """The clock behind the peak, in Hz, where known."""
        if self.clock is None:
            return None
        mhz = self.clock.tensor_mhz or self.clock.vector_mhz or self.clock.base_mhz
        return None if mhz is None else mhz * 1e6

    @property
    def tdp_w(self) -> float | None:
        """Power limit in force in watts, where known."""
        return None if self.power is None else self.power.limit_w or self.power.tdp_w

    @property
    def devices_per_node(self) -> int:
        """Devices in the usual server (1 where nothing is known)."""
        return 1 if self.node is None else self.node.devices

    @property
    def scale_up_bytes_per_s(self) -> float:
        """Bytes per second one way per device inside a node: NVLink, xGMI or ICI, else PCIe.

        Raises:
            HardwareError: the device has no published link.
        """
        link = self.links.get("scale_up") or self.links.get("pcie")
        if link is None:
            raise HardwareError(
                f"{self.id} has no published link between devices: estimate one device, "
                "or give its rate with --link-bandwidth GB/s"
            )
        return link.bytes_per_s

    @property
    def scale_up_devices(self) -> int:
        """Devices in one NVLink, xGMI or ICI domain (1 for a card that has only PCIe)."""
        link = self.links.get("scale_up")
        return 1 if link is None else link.devices

    @property
    def needs_host(self) -> bool:
        """Whether devices of a node talk over PCIe: none share a fast link, or groups smaller than the node do."""
        return "pcie" in self.links and self.scale_up_devices < max(self.devices_per_node, 2)

    @property
    def network_bytes_per_s(self) -> float:
        """Network between nodes, bytes per second per device, one way.

        Raises:
            HardwareError: no figure for the usual node of this device.
        """
        if self.node is None or self.node.network_gbit_per_s is None:
            raise HardwareError(
                f"{self.id} has no network figure (servers differ): "
                "give yours with --network-bandwidth Gbit/s per device"
            )
        return self.node.network_gbit_per_s * 1e9 / 8

    @property
    def network_assumed(self) -> bool:
        """Whether the network is that of the usual node: nobody said which node it is."""
        if self.node is None:
            return False
        key = self.node.network_source or self.node.source
        return str(self.sources.get(key, key)).startswith("assumes")


_FIGURE_OF = {  # attribute -> the figure that it holds
    "memory_bytes": "memory",
    "memory_bandwidth_bytes_per_s": "bandwidth",
    "clock_hz": "clock",
    "tdp_w": "power",
    "devices_per_node": "node",
    "network_bytes_per_s": "node",
    "scale_up_bytes_per_s": "scale_up",
}


class Device(Figures, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """One device as its driver lists it: one GPU, one GCD of an MI250X, one TPU chip, one CPU socket.

    Load one with `roofline.hardware.load_device`; `roofline.hardware.catalog.complete` makes one of `Figures`.

    Attributes:
        family: What the device has in common with its architecture.
        measured: Measured efficiencies: the device's own over its architecture's over the defaults.
        between: What joins devices of a node that share no fast link; None where one joins them all. It is assumed
            where `host` does not say.
        num_devices: How many the name stands for that it was asked by: 8 for an instance of eight; None for a device's.
        seen: A step that was timed on the user's own cluster of it.
    """

    family: Architecture
    measured: Measured = msgspec.field(name="efficiencies")  # "measured" is the file's own tables
    between: Host | None = None
    num_devices: int | None = None
    seen: Seen | None = None

    def __repr__(self) -> str:
        """The device in one line."""
        memory = f"{self.memory_bytes / 2**30:.1f} GiB at {self.memory_bandwidth_bytes_per_s / 1e9:,.0f} GB/s"
        peaks = ", ".join(f"{dtype} {peak / 1e12:g}" for dtype, peak in self.peaks.items() if dtype in {"bf16", "fp8"})
        return f"<Device {self.id}: {self.name}, {memory}{f', {peaks} TFLOP/s dense' if peaks else ''}>"

    @gated(figure=TEXT)
    def source_of(self, figure: str) -> str:
        """Where a figure comes from, in words.

        Args:
            figure: A dtype (its peak), memory, bandwidth, clock, power, node, best_matmul, a cache such as L2, a link
                such as scale_up; or the attribute that holds it, such as ``memory_bytes``.

        Raises:
            RooflineError: No such figure of this device.
        """
        known: dict[str, Any] = {
            **dict(self.peak.items()),
            "memory": self.memory.capacity,
            "bandwidth": self.memory.bandwidth,
            **{cache.level: cache for cache in self.caches},
            **dict(self.links.items()),
            "clock": self.clock,
            "node": self.node,
            "power": self.power,
            "best_matmul": self.best_matmul,
        }
        there = {name: held for name, held in known.items() if held is not None}
        held = there.get(_FIGURE_OF.get(figure, figure))
        if held is None:
            raise unknown(f"figure of {self.id}:", figure, tuple(there))
        source = self.sources.get(held.source, held.source)
        return source if isinstance(source, str) else f"{source.document}: {source.place}"
