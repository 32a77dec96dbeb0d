"""What a device is: the figures of one file under ``devices/``, each with its source.

The fields are the keys of the file (units in their names); the properties are what the estimator reads
(FLOP/s, bytes, bytes per second, watts).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from ..errors import shown, unknown
from ..gate import TEXT, gated
from .architecture import Architecture
from .errors import HardwareError
from .host import Host, HostKind
from .measured import Measured

Kind = Literal["gpu", "tpu", "accelerator", "cpu"]
Confidence = Literal["high", "medium", "low", "measured", "derived"]
LinkKey = Literal["scale_up", "pcie", "bridge", "c2c"]  # a bridge is optional, c2c leads to the host's CPU
Dtype = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]

DTYPES: tuple[Dtype, ...] = ("fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4")
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


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table of the file. Every table names its source: a key of ``[sources]``, or "assumes ..."."""


class Citation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A place where a figure can be looked up.

    Attributes:
        document: A key of ``documents.csv``, or the title of a document that is not in it.
        place: Page, table, row or column.
        revision: Its revision or date (of a document that is not in the table, like all below).
        url: Where it is to be had.
        seen: The day somebody looked, YYYY-MM-DD.
    """

    document: str
    place: str
    revision: str | None = None
    url: str | None = None
    seen: str | None = None


class Peak(_Section, frozen=True, kw_only=True):
    """Dense peak of one dtype: the engine that runs it and the width it accumulates in.

    `clock_mhz` is the clock behind this figure where it is not that of its engine; `not_derived` says why
    units x FLOPs per cycle x clock does not give the figure.
    """

    tflops: float
    engine: str
    source: str
    accumulate: str = "fp32"
    clock_mhz: float | None = None
    not_derived: str | None = None


class OtherPeak(Peak, frozen=True, kw_only=True):
    """A dense peak the chip also has and training does not use (another engine or accumulate width)."""

    dtype: Dtype


class Clock(_Section, frozen=True, kw_only=True):
    """Clocks in MHz: `tensor_mhz` and `vector_mhz` are those behind the published peaks of these engines."""

    source: str
    base_mhz: float | None = None
    boost_mhz: float | None = None
    allcore_mhz: float | None = None
    tensor_mhz: float | None = None
    vector_mhz: float | None = None
    nvml_max_mhz: float | None = None


class Capacity(_Section, frozen=True, kw_only=True):
    """Memory as the driver reports it, in MiB."""

    mib: float
    source: str


class Bandwidth(_Section, frozen=True, kw_only=True):
    """Memory bandwidth, with the bus and clock (GPU, as NVML counts) or channels and rate (CPU) behind it."""

    gb_per_s: float
    source: str
    bus_bits: int | None = None
    clock_mhz: float | None = None
    channels: int | None = None
    mt_per_s: float | None = None
    not_derived: str | None = None


class Memory(_Section, frozen=True, kw_only=True):
    """Device memory; `unified` is shared with the host."""

    type: str
    capacity: Capacity
    bandwidth: Bandwidth
    unified: bool = False


class Cache(_Section, frozen=True, kw_only=True):
    """One cache level of the whole device; a private level also says how much each unit has."""

    level: str
    mib: float
    source: str
    kib_per_unit: float | None = None
    gb_per_s: float | None = None

    @property
    def bytes(self) -> float:
        """Bytes of this level in the whole device."""
        return self.mib * 2**20

    @property
    def bandwidth_bytes_per_s(self) -> float | None:
        """Measured or published read bandwidth of the level, where known."""
        return None if self.gb_per_s is None else self.gb_per_s * 1e9


class Link(_Section, frozen=True, kw_only=True):
    """A link: bandwidth one way per device, and how many devices it joins (1 for PCIe: through the host)."""

    name: str
    gb_per_s: float
    source: str
    devices: int = 1

    @property
    def bytes_per_s(self) -> float:
        """Bytes per second, one way, per device."""
        return self.gb_per_s * 1e9


class Node(_Section, frozen=True, kw_only=True):
    """The usual server: how many devices, and its network per device, one way."""

    devices: int
    source: str
    network_gbit_per_s: float | None = None
    network_source: str | None = None


class Power(_Section, frozen=True, kw_only=True):
    """Power limit of the device at its default setting, and the one in force where another is."""

    tdp_w: float
    source: str
    limit_w: float | None = None


class BestMatmul(_Section, frozen=True, kw_only=True):
    """Best measured matrix products, TFLOP/s by dtype: what large shapes reach, not a peak."""

    tflops: dict[Dtype, float]
    source: str


class Wrong(_Section, frozen=True, kw_only=True):
    """A figure others print for this device, and why it is not used here."""

    figure: str
    value: float
    unit: str
    why: str


class Settled(_Section, frozen=True, kw_only=True):
    """A disagreement between sources and how it is settled."""

    figure: str
    note: str


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

    @property
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
    """

    family: Architecture
    measured: Measured = msgspec.field(name="efficiencies")  # "measured" is the file's own tables
    between: Host | None = None
    num_devices: int | None = None

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
