"""What joins the cards of this machine: whether they read each other's memory, and over what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ..host import HostKind
from .nvml import Nvml, NvmlError

_READ = 0  # nvmlGpuP2PCapsIndex_t
_WORKS = 0  # nvmlGpuP2PStatus_t
_SWITCHES = 20  # nvmlGpuTopologyLevel_t: several PCIe switches, no host bridge
_FAST_GENERATION = 5  # of PCIe, from which staging through host memory is fast


def host_kind(nvml: Nvml, gpus: Sequence[int], pcie_generation: int | None) -> HostKind | None:
    """The kind of host that these GPUs are in by what NVML says of every pair; None where it does not say.

    Args:
        nvml: The library or a recording.
        gpus: Their indices.
        pcie_generation: The lowest of their slots.
    """
    pairs = list(combinations(gpus, 2))
    peers = [_ask(nvml, "nvmlDeviceGetP2PStatus", one, other, _READ) for one, other in pairs]
    if not pairs or None in peers:
        return None
    if any(status != _WORKS for status in peers):
        return "staged-fast" if (pcie_generation or 0) >= _FAST_GENERATION else "staged"
    levels = [_ask(nvml, "nvmlDeviceGetTopologyCommonAncestor", one, other) for one, other in pairs]
    return "p2p-switch" if all(level is not None and level <= _SWITCHES for level in levels) else "p2p-root"


def _ask(nvml: Nvml, function: str, one: int, other: int, *args: int) -> int | None:
    try:
        answer = nvml.call(function, f"gpu{one}", f"gpu{other}", *args)
    except NvmlError:
        return None
    return answer if isinstance(answer, int) else None
