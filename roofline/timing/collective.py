"""Time of collectives: latency, bandwidth and ramp inside a domain of fast links, and between domains.

Payload conventions (bytes S, n ranks): all_reduce: the buffer; all_gather: the gathered output;
reduce_scatter: the full input; all_to_all: the buffer each rank holds; send_recv: the message.

Inside a domain each rank's traffic is ``2 (n-1)/n S`` (all_reduce on a ring), ``(n+1)/n S`` (all_reduce in
the switch), ``(n-1)/n S`` (all_gather, reduce_scatter, all_to_all) or S (send_recv). Over k domains of g
ranks a ring's traffic is spread over the g devices' network shares: measured runs move ``2 (n-1)/n S / g``
per card; the ideal is hierarchical, ``2 (k-1)/k S / g``. Parts inside and between domains are pipelined: the
larger decides. Sources: github:NVIDIA/nccl-tests doc/PERFORMANCE.md; arXiv:1807.11205 (hierarchical).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..arrays import Number, is_scalar, namespace
from ..errors import unknown

if TYPE_CHECKING:
    from ..hardware import Device
    from ..hardware.measured import Collective

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")
_LINEAR_RANKS = 8  # latency grows with each rank up to here (rings), with the logarithm beyond (trees)
_PAIRS = frozenset({"all_to_all", "send_recv"})  # messages between pairs of ranks, no ring


def _inside_traffic(collective: str, payload: Any, inside: Any, domains: Any) -> Any:
    """Bytes each device sends over the links of its domain, `inside` ranks in each of `domains` domains."""
    if collective == "send_recv":
        return payload * (inside > 1)
    share = (inside - 1) / inside * payload
    if collective == "all_reduce":
        return 2 * share
    return share / domains if collective == "all_to_all" else share


def _between_traffic(collective: str, payload: Any, inside: Any, domains: Any, spread: Any) -> Any:
    """Bytes each device sends over its share of the network.

    `spread` is the share of the payload that leaves: (n-1)/n on one ring over all ranks, (k-1)/k at best,
    where each domain reduces or gathers first.
    """
    if collective == "send_recv":
        return payload * (inside <= 1)
    if collective == "all_to_all":
        return (domains - 1) / domains * payload
    return (2 if collective == "all_reduce" else 1) * spread * (domains > 1) * payload / inside


def _constants(collective: str, device: Device) -> Collective:
    table = device.measured.collective if "scale_up" in device.links else device.measured.collective_pcie
    try:
        return table[collective]
    except KeyError:
        raise unknown("collective", collective, COLLECTIVES) from None


def _network(device: Device, given: Number | None, domains: Any) -> Number:
    """Network bytes per second per device; needed only where ranks lie in more than one domain."""
    if given is not None:
        return given
    crosses = domains > 1
    if not (crosses if is_scalar(crosses) else crosses.any()):
        return 1.0
    return device.network_bytes_per_s


def ideal_time(
    collective: str,
    payload_bytes: Number,
    ranks: Number,
    device: Device,
    *,
    ranks_per_domain: Number,
    network_bytes_per_s: Number | None = None,
) -> Number:
    """The bandwidth term alone, at datasheet figures, with the traffic inside and between domains overlapped.

    Args:
        collective: One of `COLLECTIVES`.
        payload_bytes: Bytes, in the module's convention.
        ranks: Ranks in the group; one rank costs nothing.
        device: The device.
        ranks_per_domain: How many of the group's ranks share one domain (NVLink, xGMI, ICI, PCIe box).
        network_bytes_per_s: Network share per device, one way; default the device's own.

    Raises:
        RooflineError: Unknown collective, or ranks in several domains and no network figure (as
            `HardwareError`).
    """
    constants = _constants(collective, device)
    xp = namespace(payload_bytes, ranks, ranks_per_domain, 1 if network_bytes_per_s is None else network_bytes_per_s)
    inside = xp.minimum(ranks, ranks_per_domain)
    domains = ranks / inside
    within = _inside_traffic(collective, payload_bytes, inside, domains)
    between = _between_traffic(collective, payload_bytes, inside, domains, (domains - 1) / domains)
    if collective == "all_reduce" and constants.switch_eta:
        within = xp.minimum(within, (inside + 1) / inside * payload_bytes)
    network = _network(device, network_bytes_per_s, domains)
    busy = xp.maximum(within / device.scale_up_bytes_per_s, between / network)
    return busy * (ranks > 1)


def expected_time(
    collective: str,
    payload_bytes: Number,
    ranks: Number,
    device: Device,
    *,
    ranks_per_domain: Number,
    network_bytes_per_s: Number | None = None,
) -> Number:
    """Seconds the collective takes, from fits to measured NCCL and RCCL runs; arguments as `ideal_time`."""
    constants = _constants(collective, device)
    network = device.measured.network
    xp = namespace(payload_bytes, ranks, ranks_per_domain, 1 if network_bytes_per_s is None else network_bytes_per_s)
    inside = xp.minimum(ranks, ranks_per_domain)
    domains = ranks / inside
    traffic = _inside_traffic(collective, payload_bytes, inside, domains)
    within, latency = _inside(xp, constants, payload_bytes, traffic, inside, device.scale_up_bytes_per_s)
    sent = _between_traffic(collective, payload_bytes, inside, domains, (ranks - 1) / ranks)
    eta = network.eta_pairs if collective in _PAIRS else network.eta
    between = sent / (eta * _network(device, network_bytes_per_s, domains))
    between = between + network.ramp_us * 1e-6 * (1.0 - xp.exp(-sent / (network.ramp_mb * 1e6)))
    doublings = xp.log2(xp.maximum(domains, 2.0)) - 1.0
    hop = (network.alpha_us + network.alpha_step_us * doublings) * 1e-6 * (domains > 1)
    return (latency + hop + xp.maximum(within, between)) * (ranks > 1)


def _inside(xp: Any, constants: Collective, payload: Any, traffic: Any, ranks: Any, rate: float) -> tuple[Any, Any]:
    """Transfer time (bandwidth and ramp) and latency of the part inside one domain."""
    linear = xp.minimum(ranks, _LINEAR_RANKS) - 2.0
    extra = linear + _LINEAR_RANKS * xp.log2(xp.maximum(ranks / _LINEAR_RANKS, 1.0))
    several = ranks > 1
    latency = (constants.alpha_us + constants.alpha_rank_us * xp.maximum(extra, 0.0)) * 1e-6 * several
    eta = constants.eta * (1.0 - constants.few_ranks / xp.maximum(ranks, 2.0))
    if constants.mesh is not None:
        eta = eta * (xp.minimum(xp.maximum(ranks, 2.0), constants.mesh) - 1.0) / (constants.mesh - 1.0)
    if constants.shared:
        eta = eta * (2.0 / xp.maximum(ranks, 2.0)) ** constants.shared
    transfer = traffic / (eta * rate)
    if constants.switch_eta:
        in_switch = (ranks + 1.0) / ranks * payload / (constants.switch_eta * rate)
        transfer = xp.minimum(transfer, in_switch)
    ramp = (constants.ramp_us + constants.ramp_rank_us * xp.maximum(extra, 0.0)) * 1e-6
    ramp = ramp * (1.0 - xp.exp(-payload / (ranks * constants.ramp_mb * 1e6)))
    return transfer + ramp * several, latency
