"""The tables of a file under ``devices/``: the keys are the fields (units in their names), each with its source."""

from typing import Literal, get_args

import msgspec

Kind = Literal["gpu", "tpu", "accelerator", "cpu"]
Confidence = Literal["high", "medium", "low", "measured", "derived"]
LinkKey = Literal["scale_up", "pcie", "bridge", "c2c"]  # a bridge is optional, c2c leads to the host's CPU
Dtype = Literal["fp64", "fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"]

DTYPES: tuple[Dtype, ...] = get_args(Dtype)
# GB/s one way of sixteen lanes by generation (PCI Express base specification, after line coding).
PCIE_X16_GB_PER_S = {1: 4.0, 2: 8.0, 3: 15.75, 4: 31.5, 5: 63.0, 6: 121.0}


def accumulates_in(dtype: str) -> str:
    """The dtype in which a matrix engine sums up products of `dtype` in training."""
    return {"fp64": "fp64", "int8": "int32"}.get(dtype, "fp32")


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
