"""From what the driver says to a Device: by exact name, else derived from its parts, else why not."""

from __future__ import annotations

import msgspec

from ..architecture import Architecture, Rates
from ..catalog import architecture_ids, complete, load_architecture
from ..device import (
    DTYPES,
    Bandwidth,
    Capacity,
    Clock,
    Device,
    Dtype,
    Figures,
    Link,
    LinkKey,
    Memory,
    Node,
    Peak,
    Power,
)
from ..lookup import by_driver_name, tokens, variants
from .gpu import Gpu, MigSlice

DERIVED = "derived from SM count, compute capability and maximum clocks: may be up to 28 % high"
MEMORY_TOLERANCE = 0.03  # NVML, CUDA and marketing disagree by less
_MEMORY_SLICES = 8  # of a GPU that can be partitioned


def match(gpu: Gpu) -> tuple[Device | None, str]:
    """The device of a GPU, and how it was found or why it was not.

    Under MIG the whole card's figures belong to nobody: use `mig_device` with a slice.
    """
    if gpu.name is None:
        why = gpu.failed.get("name") or gpu.failed.get("handle", "no answer")
        return None, f"the driver gives no name ({why})"
    device = by_driver_name(gpu.name)
    if device is not None:
        return device, "exact name"
    derived = derive(gpu)
    close = variants(gpu.name)
    hint = f"; the catalog has {', '.join(close)}" if close else ""
    if derived is None:
        return None, f"'{gpu.name}' is not in the catalog{hint}, and {why_not_derived(gpu)}"
    return derived, f"'{gpu.name}' is not in the catalog{hint}; {DERIVED}"


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
    """Why no peak can be derived for a GPU."""
    if gpu.compute_capability is None:
        return "the driver gives no compute capability"
    if rates_of(gpu) is None:
        return (
            f"compute capability {gpu.compute_capability} is not covered: give its figures in a device file, "
            "or measure them with 'roofline calibrate'"
        )
    missing = [field for field in ("cuda_cores", "max_sm_mhz") if getattr(gpu, field) is None]
    if missing:
        return f"the driver does not report {' and '.join(missing)}"
    if _bandwidth_gb_per_s(gpu) is None:
        return "the driver reports no memory clock and bus width"
    return "the driver reports no memory size"


def _bandwidth_gb_per_s(gpu: Gpu) -> float | None:
    if not gpu.max_memory_mhz or not gpu.bus_bits or gpu.unified_memory:
        return None
    return 2 * gpu.max_memory_mhz * 1e6 * gpu.bus_bits / 8 / 1e9  # NVML's clock is half the data rate


def derive(gpu: Gpu) -> Device | None:
    """A device from SM count, compute capability and maximum clocks; None where any of them is missing."""
    found, bandwidth = rates_of(gpu), _bandwidth_gb_per_s(gpu)
    if found is None or bandwidth is None or not gpu.cuda_cores or not gpu.max_sm_mhz or not gpu.memory_bytes:
        return None
    key, architecture, variant, rates = found
    if rates.lanes is None:
        return None
    units = gpu.cuda_cores // rates.lanes
    words = tokens(gpu.name or "")
    no_tensor_cores = "gtx" in words  # GTX 16xx report 7.5 and have none
    dtypes: list[Dtype] = ["fp64", "fp32"] if no_tensor_cores else list(DTYPES)
    peaks: dict[Dtype, Peak] = {}
    for dtype in dtypes:
        rate = getattr(rates, dtype)
        if rate is not None:
            engine = "vector" if dtype in {"fp32", "fp64"} else "tensor core"
            accumulate = {"fp64": "fp64", "int8": "int32"}.get(dtype, "fp32")
            tflops = units * rate * gpu.max_sm_mhz / 1e6
            peaks[dtype] = Peak(
                tflops=tflops,
                engine=engine,
                accumulate=accumulate,
                clock_mhz=gpu.max_sm_mhz,
                source="derived",
            )
    figures = Figures(
        id="-".join(words) or "gpu",
        name=gpu.name or "GPU",
        vendor="NVIDIA",
        kind="gpu",
        architecture=key,
        variant=variant,
        confidence="derived",
        compute_capability=gpu.compute_capability,
        units=units,
        unit=architecture.unit,
        caveats=(DERIVED,),
        sources={"derived": "units x FLOPs per cycle x maximum clock", "driver": "NVML on this machine"},
        clock=Clock(source="driver", tensor_mhz=gpu.max_sm_mhz, vector_mhz=gpu.max_sm_mhz),
        peak=peaks,
        memory=Memory(
            type="as the driver lists",
            capacity=Capacity(mib=gpu.memory_bytes / 2**20, source="driver"),
            bandwidth=Bandwidth(
                gb_per_s=bandwidth, bus_bits=gpu.bus_bits, clock_mhz=gpu.max_memory_mhz, source="driver"
            ),
        ),
        links=_links(gpu),
        node=Node(devices=1, source="driver"),
        power=None if gpu.power_default_w is None else Power(tdp_w=gpu.power_default_w, source="driver"),
    )
    return complete(figures)


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


def as_found(device: Device, gpu: Gpu) -> Device:
    """`device` with the memory that this machine's driver reports."""
    if gpu.memory_bytes is None or gpu.unified_memory:
        return device
    sources = {**device.sources, "this-machine": "NVML on this machine"}
    capacity = Capacity(mib=gpu.memory_bytes / 2**20, source="this-machine")
    memory = msgspec.structs.replace(device.memory, capacity=capacity)
    return msgspec.structs.replace(device, sources=sources, memory=memory)


def mig_device(device: Device, gpu: Gpu, part: MigSlice) -> Device | None:
    """One MIG slice as a device: compute scaled by multiprocessors, bandwidth and caches by memory slices."""
    if device.units is None or part.multiprocessors is None or part.memory_mib is None:
        return None
    compute = part.multiprocessors / device.units
    total_mib = device.memory.capacity.mib if gpu.memory_bytes is None else gpu.memory_bytes / 2**20
    # A slice lists a little less than its share (4864 MiB of 5120): round to whole memory slices.
    eighths = min(max(round(part.memory_mib / total_mib * _MEMORY_SLICES), 1), _MEMORY_SLICES)
    share = eighths / _MEMORY_SLICES
    source = "this-machine"
    note = f"MIG slice: {part.multiprocessors} of {device.units} {device.unit}s, {eighths} of 8 memory slices"
    peaks = {dtype: msgspec.structs.replace(peak, tflops=peak.tflops * compute) for dtype, peak in device.peak.items()}
    bandwidth = msgspec.structs.replace(
        device.memory.bandwidth,
        gb_per_s=device.memory.bandwidth.gb_per_s * share,
        bus_bits=None,
        clock_mhz=None,
    )
    capacity = Capacity(mib=part.memory_mib, source=source)
    return msgspec.structs.replace(
        device,
        name=part.name or f"{device.name} (MIG slice)",
        sources={**device.sources, source: "NVML on this machine"},
        caveats=(*device.caveats, note),
        units=part.multiprocessors,
        peak=peaks,
        other_peaks=(),
        memory=msgspec.structs.replace(device.memory, bandwidth=bandwidth, capacity=capacity),
        caches=tuple(
            msgspec.structs.replace(
                cache,
                mib=cache.mib * (compute if cache.kib_per_unit else share),
                gb_per_s=None if cache.gb_per_s is None else cache.gb_per_s * share,
            )
            for cache in device.caches
        ),
        links={key: link for key, link in device.links.items() if key == "pcie"},  # a slice has no NVLink
        node=Node(devices=1, source=source),
        best_matmul=None,
        power=None,
    )
