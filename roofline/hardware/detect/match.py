"""From what the driver says to a Device: by exact name, else derived from its parts, else why not."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..architecture import Architecture, Rates
from ..catalog import complete
from ..check.rules import figure_problems
from ..database import architecture_ids, load_architecture
from ..device import Device, Figures
from ..driver_names import by_driver_name, plain_name, sharing
from ..errors import quoted
from ..lookup import variants
from ..sections import DTYPES, Bandwidth, Capacity, Clock, Dtype, Link, LinkKey, Memory, Node, Peak, Power
from ..words import tokens
from .amd import CARD_OF
from .gpu import Gpu

CALIBRATE = "measure it with 'roofline calibrate' (PyTorch that runs on it), or give its figures in a device file"
_VGPU = re.compile(r"^(?:NVIDIA |GRID )*(?P<card>[A-Z][\w ]*?)(?:-\d)?-(?P<gib>\d+)(?P<series>[ABCQ])(?:ME)?$")


class Kind(NamedTuple):
    """How a board's maximum clock compares with the one behind its peak, and how widely such boards differ."""

    words: str
    over: float
    spread: float  # standard deviation of the logarithm


# NVML's maximum over the clock behind the published peak. GeForce: 1.23 to 1.28 (RTX 3090, 4090, 5090); other boards of
# the catalog: 1.00 to 1.24; laptops: 1.23 to 2.13 over their power classes (2100 and 3105 MHz over boosts of 1,230 to
# 2,370 MHz).
_KINDS = {
    "laptop": Kind("laptop boards, whose power classes differ", 1.6, 0.2),
    "geforce": Kind("GeForce boards", 1.25, 0.04),
    "other": Kind("boards of this family", 1.08, 0.08),
}
_NO_TENSOR_CORES = 0.25  # fp16 of boards without them runs at what each framework's kernels make of it


def match(gpu: Gpu) -> tuple[Device | None, str]:
    """The device of a GPU, and how it was found or why it was not.

    Under MIG the whole card's figures belong to nobody: use `mig_device` with a slice.
    """
    if gpu.name is None:
        why = gpu.failed.get("name") or gpu.failed.get("handle", "no answer")
        return None, f"the driver gives no name ({why})"
    device = by_driver_name(
        CARD_OF.get((plain_name(gpu.name), gpu.compute_units), plain_name(gpu.name)),
        cuda_cores=gpu.cuda_cores,
        memory_bytes=None if gpu.unified_memory else gpu.memory_bytes,
        power_limit_w=gpu.power_limit_w or gpu.power_default_w,
    )
    if device is not None:
        return device, "exact name"
    if gpu.virtualization == "vgpu" or _VGPU.match(gpu.name):
        return _vgpu(gpu.name)
    derived, why = derive(gpu)
    close = sharing(gpu.name) or variants(gpu.name)
    hint = f"; the catalog has {', '.join(close)}" if close else ""
    if derived is None:
        return None, f"'{gpu.name}' is not in the catalog{hint}, and {why}"
    return derived, f"'{gpu.name}' is not in the catalog{hint}; {derived.caveats[0]}"


def _vgpu(name: str) -> tuple[Device | None, str]:
    """The card behind a vGPU, where its name says which."""
    found = _VGPU.match(name)
    card = found["card"].strip() if found else name
    device = by_driver_name(f"NVIDIA {card}") or by_driver_name(f"Tesla {card}")
    share = f"'{name}' is a vGPU, a share of {'an' if card[:1] in 'AL' else 'a'} {card}"
    if device is not None:
        return device, f"{share}: the card's rates are upper bounds, other guests use it too"
    close = variants(re.sub(r"[A-Z]$", "", card)) or variants(card)
    which = f": name the card it is on, {quoted(close)}, with --memory" if close else f": {CALIBRATE}"
    return None, f"{share} whose form the driver does not say{which}"


def rates_of(gpu: Gpu) -> tuple[str, Architecture, str, Rates] | None:
    """Architecture key and file, variant and rates of a compute capability; None where none covers it."""
    candidates = []
    for key in architecture_ids():
        architecture = load_architecture(key)
        for variant, rates in architecture.flops_per_cycle.items():
            if gpu.compute_capability is not None and rates.compute_capability == gpu.compute_capability:
                candidates.append((key, architecture, variant, rates))
    words = tokens(gpu.name or "")
    # GeForce boards halve fp32 accumulation where the chip can; TITAN RTX (7.5) does not.
    consumer = "geforce" in words or ("titan" in words and gpu.compute_capability != "7.5")
    special = ("h20", "a10g", "l40")  # export and cloud parts: found by name or not at all
    candidates = [item for item in candidates if item[2] not in special]
    by_variant = {item[2]: item for item in candidates}
    if consumer and "geforce" in by_variant:
        return by_variant["geforce"]
    return next((item for item in candidates if item[2] != "geforce"), None)


def why_not_derived(gpu: Gpu) -> str:
    """Why no peak can be derived for a GPU, and what to do."""
    if gpu.compute_capability is None:
        return f"the driver gives no compute capability: {CALIBRATE}"
    found = rates_of(gpu)
    if found is None or found[3].lanes is None:
        return f"compute capability {gpu.compute_capability} is not covered: {CALIBRATE}"
    missing = [field for field in ("cuda_cores", "max_sm_mhz") if getattr(gpu, field) is None]
    if missing:
        return f"the driver does not report {' and '.join(missing)}: {CALIBRATE}"
    if _bandwidth_gb_per_s(gpu) is None:
        return f"the driver reports no memory clock and bus width: {CALIBRATE}"
    return f"the driver reports no memory size: {CALIBRATE}"


def _bandwidth_gb_per_s(gpu: Gpu) -> float | None:
    if not gpu.max_memory_mhz or not gpu.bus_bits or gpu.unified_memory:
        return None
    return 2 * gpu.max_memory_mhz * 1e6 * gpu.bus_bits / 8 / 1e9  # NVML's clock is half the data rate


def kind_of(gpu: Gpu) -> Kind:
    """Which boards a GPU is like in how far its maximum clock is above the one it holds."""
    words = tokens(gpu.name or "")
    if "laptop" in words or "mobile" in words or ("max" in words and "q" in words):
        return _KINDS["laptop"]
    return _KINDS["geforce" if {"geforce", "titan"} & set(words) else "other"]


def derive(gpu: Gpu) -> tuple[Device | None, str]:
    """A device from SM count, compute capability and maximum clocks; None, and why, where that cannot be.

    What is derived obeys the rules of a device file.
    """
    found, bandwidth = rates_of(gpu), _bandwidth_gb_per_s(gpu)
    lanes = None if found is None else found[3].lanes
    if found is None or lanes is None or bandwidth is None or not gpu.memory_bytes:
        return None, why_not_derived(gpu)
    if not gpu.cuda_cores or not gpu.max_sm_mhz:
        return None, why_not_derived(gpu)
    key, architecture, variant, rates = found
    units, kind = gpu.cuda_cores // lanes, kind_of(gpu)
    words = tokens(gpu.name or "")
    no_tensor_cores = "gtx" in words  # GTX 16xx report 7.5 and have none
    mhz = gpu.max_sm_mhz / kind.over
    spread = (kind.spread**2 + (_NO_TENSOR_CORES if no_tensor_cores else 0.0) ** 2) ** 0.5
    caveat = (
        f"derived from SM count, compute capability and {mhz:.0f} MHz (the maximum clock over {kind.over:g}, as usual "
        f"of {kind.words}): uncertain by {100 * spread:.0f} %"
    )
    figures = Figures(
        id="-".join(words) or "gpu",
        name=gpu.name or "GPU",
        vendor="NVIDIA",
        kind="gpu",
        architecture=key,
        variant=variant,
        confidence="derived",
        spread=spread,
        compute_capability=gpu.compute_capability,
        units=units,
        unit=architecture.unit,
        caveats=(caveat,),
        sources={"derived": "units x FLOPs per cycle x maximum clock", "driver": "NVML on this machine"},
        clock=Clock(source="driver", tensor_mhz=mhz, vector_mhz=mhz, nvml_max_mhz=gpu.max_sm_mhz),
        peak=_peaks(units, rates, mhz, no_tensor_cores=no_tensor_cores),
        memory=Memory(
            type="as the driver lists",
            capacity=Capacity(mib=gpu.memory_bytes / 2**20, source="driver"),
            bandwidth=Bandwidth(
                gb_per_s=bandwidth, bus_bits=gpu.bus_bits, clock_mhz=gpu.max_memory_mhz, source="driver"
            ),
        ),
        links=_links(gpu),
        node=Node(devices=1, source="driver"),
        power=Power(tdp_w=gpu.power_default_w, source="driver") if gpu.power_default_w else None,
    )
    for problem in figure_problems(figures):
        return None, f"what the driver reports cannot be ({problem}): {CALIBRATE}"
    return complete(figures), ""


def _peaks(units: int, rates: Rates, mhz: float, *, no_tensor_cores: bool) -> dict[Dtype, Peak]:
    """Units x FLOPs per cycle x clock of every dtype with an engine."""
    peaks: dict[Dtype, Peak] = {}
    for dtype in ("fp64", "fp32") if no_tensor_cores else DTYPES:
        rate = getattr(rates, dtype)
        if rate is not None:
            on_lanes = dtype in {"fp32", "fp64"} and getattr(rates, f"{dtype}_vector") is None
            peaks[dtype] = Peak(
                tflops=units * rate * mhz / 1e6,
                engine="vector" if on_lanes else "tensor core",
                accumulate={"fp64": "fp64", "int8": "int32"}.get(dtype, "fp32"),
                clock_mhz=mhz,
                source="derived",
            )
    return peaks


def _links(gpu: Gpu) -> dict[LinkKey, Link]:
    links: dict[LinkKey, Link] = {}
    if gpu.nvlink_gb_per_s is not None:
        links["scale_up"] = Link(
            name=f"NVLink {gpu.nvlink_version}, {gpu.nvlinks} links",
            gb_per_s=gpu.nvlink_gb_per_s,
            devices=1,
            source="driver",
        )
    if gpu.pcie_gb_per_s is not None:
        name = f"PCIe {gpu.pcie_generation}.0 x{gpu.pcie_width}"
        links["pcie"] = Link(name=name, gb_per_s=gpu.pcie_gb_per_s, source="driver")
    return links
