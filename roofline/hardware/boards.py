"""Boards of known chips: a row of ``boards.csv`` has what differs from board to board; the chip's file has the rates.

Peaks are units x FLOPs per cycle (architecture file) x boost clock. Only boards of chips whose rates nobody publishes
state their peaks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import msgspec

from .architecture import Rates
from .database import facts, from_row, load_architecture, read_csv
from .device import Figures
from .errors import HardwareError
from .sections import (
    DTYPES,
    PCIE_X16_GB_PER_S,
    Bandwidth,
    BestMatmul,
    Cache,
    Capacity,
    Citation,
    Clock,
    Confidence,
    Dtype,
    Kind,
    Link,
    LinkKey,
    Memory,
    Node,
    Peak,
    Power,
    Settled,
    accumulates_in,
)

BoardKind = Literal["desktop", "laptop", "workstation", "server", "soc"]

UNREAD = ("recalled", "quoted")  # words before a source that was not opened: it is no evidence for confidence high
_RACK = 72  # devices of a scale-up domain that fills a rack, four to a tray


class Board(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One row of ``boards.csv``.

    Attributes:
        driver_names: Names that its driver lists, separated by ``|``; boards may share one.
        units: SMs, CUs, cores of the chip that are switched on.
        tensor_mhz: Clock behind the stated matrix peaks where it is not the boost clock.
        gbit_per_pin: Data rate of the memory, Gbit/s per pin.
        power_range_w: Least and most watts at which makers sell the chip, ``60-115`` (laptops).
        pcie: Generation and lanes, ``4.0 x16``.
        link: What joins several of them; `link_gb_per_s` one way per device, `link_devices` how many.
        peak_tflops: Dense peaks by dtype, only where the architecture file has no rates.
        stated_tflops: Dense peaks that a vendor prints: the derived ones must agree.
        stated_in: Key of the document that prints them.
        matmul_tflops: Best measured matrix products by dtype.
        second_source: What a second source confirms.
        rare: `yes` of aftermarket and regional variants: a name that fits others too does not mean them.
        sources: ``document: place``, separated by ``|``; ``recalled: ...`` and ``quoted: ...`` were not opened.
    """

    id: str
    name: str
    architecture: str
    gb_per_s: float
    memory: str
    memory_gib: float
    kind: BoardKind
    confidence: Confidence
    sources: str
    driver_names: str = ""
    pci_ids: str = ""
    variant: str | None = None
    units: int | None = None
    base_mhz: float | None = None
    boost_mhz: float | None = None
    tensor_mhz: float | None = None
    bus_bits: int | None = None
    gbit_per_pin: float | None = None
    l2_mib: float | None = None
    power_w: float | None = None
    power_range_w: str | None = None
    pcie: str | None = None
    link: str | None = None
    link_gb_per_s: float | None = None
    link_devices: int | None = None
    year: int | None = None
    peak_tflops: str = ""
    stated_tflops: str = ""
    stated_in: str | None = None
    matmul_tflops: str = ""
    second_source: str | None = None
    rare: Literal["yes"] | None = None
    note: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names that its driver lists."""
        return tuple(name.strip() for name in self.driver_names.split("|") if name.strip())

    @property
    def citations(self) -> dict[str, Citation]:
        """The documents it was taken from, by key, each with the place."""
        found = {}
        for part in self.sources.split("|"):
            key, _, place = part.strip().partition(": ")
            if key not in UNREAD:
                found[key] = Citation(document=key, place=place)
        return found


@lru_cache(maxsize=1)
def rows() -> dict[str, dict[str, str]]:
    """The cells of every board of the catalog by id, not yet checked (three milliseconds)."""
    return {row["id"]: row for row in read_csv(facts() / "boards.csv")}


def board(row: dict[str, str], place: str = "boards.csv") -> Board:
    """A board from the cells of its row.

    Raises:
        HardwareError: an unknown or missing column, or a cell of the wrong type (file, row, column).
    """
    return from_row(row, Board, place)


def figures(one: Board) -> Figures:
    """Everything that a board's row and its architecture say of it, as a device file would.

    Raises:
        HardwareError: no such architecture, or a cell that cannot be read.
    """
    architecture = load_architecture(one.architecture)
    rates = architecture.flops_per_cycle.get(one.variant or "")
    documents = one.citations
    sheet = next(iter(documents), "row")
    sources: dict[str, str | Citation] = dict(documents)
    if sheet == "row":
        sources["row"] = one.sources
    if rates is not None:
        sources["derived"] = f"derived from the rates of {one.architecture}: units x FLOPs per cycle x clock"
    links, node = _links(one, sheet)
    return Figures(
        id=one.id,
        name=one.name,
        vendor=one.name.split()[0],
        kind=device_kind(one),
        architecture=one.architecture,
        variant=one.variant,
        confidence=one.confidence,
        sources=sources,
        nvml_names=one.names,
        rare=one.rare is not None,
        form_factor={"soc": "SoC", "laptop": "laptop"}.get(one.kind, "SXM or OAM" if "scale_up" in links else "PCIe"),
        release_year=one.year,
        compute_capability=None if rates is None else rates.compute_capability,
        units=one.units,
        unit=architecture.unit,
        caveats=_caveats(one),
        clock=_clock(one, sheet),
        peak=_peaks(one, rates, sheet),
        memory=_memory(one, sheet),
        caches=(Cache(level="L2", mib=one.l2_mib, source=sheet),) if one.l2_mib else (),
        links=links,
        node=node,
        power=None if one.power_w is None else Power(tdp_w=one.power_w, source=sheet),
        best_matmul=_matmul(one),
        settled=_settled(one, rates),
    )


def by_dtype(text: str, column: str) -> dict[Dtype, float]:
    """Figures by dtype from a cell such as ``fp16=25.8 int8=103``.

    Raises:
        HardwareError: an unknown dtype, or no number.
    """
    found: dict[Dtype, float] = {}
    for part in text.split():
        dtype, _, figure = part.partition("=")
        try:
            value = float(figure)
        except ValueError:
            value = None
        if dtype not in DTYPES or value is None:
            raise HardwareError(f"{column} = '{part}': give dtype=TFLOP/s (dtypes: {', '.join(DTYPES)})")
        found[dtype] = value
    return found


def device_kind(one: Board) -> Kind:
    """What kind of device a board is."""
    return "accelerator" if one.architecture == "ascend" else "gpu"


def _clock(one: Board, sheet: str) -> Clock | None:
    if one.boost_mhz is None:
        return None
    return Clock(
        source=sheet,
        base_mhz=one.base_mhz,
        boost_mhz=one.boost_mhz,
        tensor_mhz=one.tensor_mhz or one.boost_mhz,
        vector_mhz=one.boost_mhz,
    )


def _peaks(one: Board, rates: Rates | None, sheet: str) -> dict[Dtype, Peak]:
    if rates is None:
        why = "stated by the vendor: the rate per unit and cycle is not published"
        stated = by_dtype(one.peak_tflops, "peak_tflops")
        return {
            dtype: Peak(
                tflops=tflops, engine="matrix units", source=sheet, accumulate=accumulates_in(dtype), not_derived=why
            )
            for dtype, tflops in stated.items()
        }
    if one.units is None or one.boost_mhz is None:
        return {}
    peaks: dict[Dtype, Peak] = {}
    for dtype in DTYPES:
        rate = getattr(rates, dtype)
        if rate is not None:
            vector = dtype in {"fp64", "fp32"} and getattr(rates, f"{dtype}_vector") is None
            mhz = one.boost_mhz if vector else one.tensor_mhz or one.boost_mhz
            peaks[dtype] = Peak(
                tflops=float(f"{one.units * rate * mhz / 1e6:.4g}"),
                engine="vector" if vector else rates.engine,
                accumulate=accumulates_in(dtype),
                source="derived",
            )
    return peaks


def _memory(one: Board, sheet: str) -> Memory:
    shared = one.kind == "soc"
    return Memory(
        type=one.memory,
        unified=shared,
        capacity=Capacity(
            mib=one.memory_gib * 1024,
            source=f"assumes the {one.memory_gib:g} GB sold are GiB{', shared with the host' if shared else ''}",
        ),
        bandwidth=Bandwidth(
            gb_per_s=one.gb_per_s,
            bus_bits=one.bus_bits,
            clock_mhz=None if one.gbit_per_pin is None else one.gbit_per_pin * 500,  # NVML's is half the data rate
            source=sheet,
        ),
    )


def _links(one: Board, sheet: str) -> tuple[dict[LinkKey, Link], Node]:
    links: dict[LinkKey, Link] = {}
    alone = one.kind in {"laptop", "soc"}
    node = Node(devices=1, source="assumes one per machine") if alone else None
    if one.link and one.link_gb_per_s and one.link_devices:
        joined = Link(name=one.link, gb_per_s=one.link_gb_per_s, devices=one.link_devices, source=sheet)
        if "bridge" in one.link:
            links["bridge"] = joined
        else:
            links["scale_up"] = joined
            size = 4 if one.link_devices >= _RACK else one.link_devices
            node = Node(devices=size, source=f"assumes a server of {size}")
    if one.pcie:
        links["pcie"] = Link(name=f"PCIe {one.pcie}", gb_per_s=_pcie(one.pcie), source=sheet)
    return links, node or Node(devices=8, source="assumes a server of 8 cards")


def _pcie(text: str) -> float:
    generation, _, lanes = text.partition(" x")
    try:
        return PCIE_X16_GB_PER_S[int(float(generation))] * int(lanes or 16) / 16
    except (ValueError, KeyError, OverflowError):  # no number, no such generation, infinite
        raise HardwareError(f"pcie = '{text}': give generation and lanes, e.g. 4.0 x16") from None


def _matmul(one: Board) -> BestMatmul | None:
    measured = by_dtype(one.matmul_tflops, "matmul_tflops")
    return BestMatmul(tflops=measured, source="torch-matmul") if measured else None


def _caveats(one: Board) -> tuple[str, ...]:
    caveats = []
    if one.confidence == "low":
        caveats.append(one.note or "figures from a single source")
    if one.power_range_w:
        caveats.append(
            f"the clock is that of its {one.power_w:g} W class: makers sell this chip at {one.power_range_w} W "
            f"(name yours: {laptop_family(one.id)}-NUMBERw)"
        )
    return tuple(caveats)


def laptop_family(board_id: str) -> str:
    """The id without a power class.

    >>> laptop_family("rtx-3060-laptop-80w")
    'rtx-3060-laptop'
    """
    family, _, last = board_id.rpartition("-")
    return family if last.endswith("w") and last[:-1].isdigit() else board_id


def _settled(one: Board, rates: Rates | None) -> tuple[Settled, ...]:
    found = []
    if one.note and one.confidence != "low":
        found.append(Settled(figure="board", note=one.note))
    if rates is not None:
        found += [Settled(figure=dtype, note=note) for dtype, note in rates.notes.items()]
    return tuple(found)


def power_classes(board_id: str) -> tuple[float, float]:
    """The least and the most watts of the power classes of a laptop's chip."""
    watts = [one.power_w or 0.0 for one in _classes(laptop_family(board_id))]
    return min(watts), max(watts)


def _classes(family: str) -> list[Board]:
    """The rows of a laptop's chip, by power."""
    found = [board(row) for key, row in rows().items() if laptop_family(key) == family]
    return sorted((one for one in found if one.power_w), key=lambda one: one.power_w or 0.0)


def at_power(board_id: str, watts: float) -> Board:
    """A laptop's board at a power limit between two of its power classes: the clock is interpolated.

    The memory is that of the class below, whose clock makers keep up to the next one.

    Raises:
        HardwareError: no power classes, or a limit outside of them.
    """
    family = laptop_family(board_id)
    classes = _classes(family)
    limits = [one.power_w or 0.0 for one in classes]
    if len(classes) < 2:
        raise HardwareError(f"{family} has no power classes to interpolate between")
    if not limits[0] <= watts <= limits[-1]:
        raise HardwareError(f"{family} at {watts:g} W: its power classes reach from {limits[0]:g} to {limits[-1]:g} W")
    index = max(i for i, limit in enumerate(limits[:-1]) if limit <= watts)
    low, high = classes[index], classes[index + 1]
    share = (watts - limits[index]) / (limits[index + 1] - limits[index])
    memory = high if share == 1 else low
    boost = (low.boost_mhz or 0.0) + share * ((high.boost_mhz or 0.0) - (low.boost_mhz or 0.0))
    return msgspec.structs.replace(
        memory,
        id=f"{family}-{watts:g}w",
        name=f"{classes[-1].name.partition(' (')[0]} ({watts:g} W)",
        boost_mhz=round(boost),
        power_w=watts,
        stated_tflops="",
        matmul_tflops="",
        confidence="medium" if low.confidence == "high" else low.confidence,
        note=f"clock between its classes of {limits[index]:g} and {limits[index + 1]:g} W",
    )
