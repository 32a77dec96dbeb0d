"""Time of collectives: latency, bandwidth and ramp inside a domain of fast links, and between domains.

Payload conventions (bytes S, n ranks): all_reduce: the buffer; all_gather: the gathered output;
reduce_scatter: the full input; all_to_all: the buffer each rank holds; send_recv, broadcast: the message.

Inside a domain each rank's traffic is ``2 (n-1)/n S`` (all_reduce on a ring), ``(n+1)/n S`` (all_reduce in
the switch), ``(n-1)/n S`` (all_gather, reduce_scatter, all_to_all) or S (send_recv, broadcast). Over k domains of g
ranks a ring's traffic is spread over the g devices' network shares: measured runs move ``2 (n-1)/n S / g``
per card; the ideal is hierarchical, ``2 (k-1)/k S / g``. Parts inside and between domains are pipelined: the
larger decides. Sources: github:NVIDIA/nccl-tests doc/PERFORMANCE.md; arXiv:1807.11205 (hierarchical).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..arrays import Number, is_scalar, namespace, where
from ..constants import constant
from ..errors import unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..hardware import Device
    from ..hardware.host import Host
    from ..hardware.measured import Collective

COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv")  # that were measured
BROADCAST = "broadcast"  # from one rank along a ring through all
_LIKE = {BROADCAST: "all_gather"}  # constants of another: a ring that copies, too
_LINEAR_RANKS = constant("linear_ranks")
_RING_CHUNK = constant("ring_chunk")
_PAIRS = frozenset({"all_to_all", "send_recv"})  # messages between pairs of ranks, no ring


class Sharing(msgspec.Struct, frozen=True):
    """What an all-to-all sends of its payload where copies of one token travel together.

    Shares of the payload inside a domain and between domains; whether what comes over the network is handed on inside
    the domain; and the shares of the links' bandwidth it reaches where they are its own.
    """

    inside: Number = 1
    between: Number = 1
    forwards: bool = False
    eta_inside: float | None = None
    eta_between: float | None = None


ALONE = Sharing()


def _inside_traffic(collective: str, payload: Any, inside: Any, domains: Any, sharing: Sharing = ALONE) -> Any:
    """Bytes each device sends over the links of its domain, `inside` ranks in each of `domains` domains."""
    if collective in {"send_recv", BROADCAST}:
        return payload * (inside > 1)
    share = (inside - 1) / inside * payload
    if collective == "all_reduce":
        return 2 * share
    if collective != "all_to_all":
        return share
    return share * sharing.inside / (1 if sharing.forwards else domains)


def _between_traffic(
    collective: str, payload: Any, inside: Any, domains: Any, spread: Any, sharing: Sharing = ALONE
) -> Any:
    """Bytes each device sends over its share of the network.

    `spread` is the share of the payload that leaves: (n-1)/n on one ring over all ranks, (k-1)/k at best,
    where each domain reduces or gathers first.
    """
    if collective == "send_recv":
        return payload * (inside <= 1)
    if collective == "all_to_all":
        return (domains - 1) / domains * payload * sharing.between
    if collective == BROADCAST:
        return payload / inside * (domains > 1)
    return (2 if collective == "all_reduce" else 1) * spread * (domains > 1) * payload / inside


class Domain(msgspec.Struct, frozen=True):
    """Links that join ranks of one node: collectives' constants over them, and bytes per second one way per device."""

    constants: Collective
    bytes_per_s: float


def _fast(collective: str, device: Device) -> Domain:
    """NVLink, xGMI or ICI; PCIe where there is nothing else."""
    if "scale_up" not in device.links and device.between is not None:
        return _through_host(collective, device, device.between)
    return Domain(_of(device.measured.collective, collective), device.scale_up_bytes_per_s)


def _through_host(collective: str, device: Device, host: Host) -> Domain:
    """PCIe, and what the host makes of it."""
    return Domain(_of(host.collective, collective), device.links["pcie"].bytes_per_s)


def _of(table: Mapping[str, Collective], collective: str) -> Collective:
    try:
        return table[_LIKE.get(collective, collective)]
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
    ranks_per_link: Number | None = None,
    network_bytes_per_s: Number | None = None,
    sharing: Sharing = ALONE,
) -> Number:
    """The bandwidth term alone, at datasheet figures, with the traffic at each level of links overlapped.

    Args:
        collective: One of `COLLECTIVES`, or broadcast.
        payload_bytes: Bytes, in the module's convention.
        ranks: Ranks in the group; one rank costs nothing.
        device: The device.
        ranks_per_domain: How many of the group's ranks share one domain (NVLink, xGMI, ICI, PCIe box).
        ranks_per_link: How many of those share its fastest link, where that joins fewer (bridged pairs in a PCIe box);
            the rest is PCIe's. Default all.
        network_bytes_per_s: Network share per device, one way; default the device's own.
        sharing: What of an all-to-all's payload travels; default all of it.

    Raises:
        RooflineError: Unknown collective, or ranks in several domains and no network figure (as
            `HardwareError`).
    """
    fast = _fast(collective, device)
    per_link = ranks_per_domain if ranks_per_link is None else ranks_per_link
    xp = namespace(payload_bytes, ranks, ranks_per_domain, per_link, _or_one(network_bytes_per_s))
    inside = xp.minimum(ranks, ranks_per_domain)
    joined = xp.minimum(inside, per_link)
    domains, groups = ranks / inside, inside / joined
    within = _inside_traffic(collective, payload_bytes, joined, ranks / joined, sharing)
    if collective == "all_reduce" and fast.constants.switch_eta:
        within = xp.minimum(within, (joined + 1) / joined * payload_bytes)
    busy = within / fast.bytes_per_s
    if device.between is not None:
        # groups of a fast link reduce or gather first; what is left crosses PCIe
        across = _between_traffic(collective, payload_bytes, joined, groups, (groups - 1) / groups)
        busy = xp.maximum(busy, across * (groups > 1) / device.links["pcie"].bytes_per_s)
    between = _between_traffic(collective, payload_bytes, inside, domains, (domains - 1) / domains, sharing)
    return xp.maximum(busy, between / _network(device, network_bytes_per_s, domains)) * (ranks > 1)


def expected_time(
    collective: str,
    payload_bytes: Number,
    ranks: Number,
    device: Device,
    *,
    ranks_per_domain: Number,
    ranks_per_link: Number | None = None,
    network_bytes_per_s: Number | None = None,
    sharing: Sharing = ALONE,
) -> Number:
    """Seconds the collective takes, from fits to measured NCCL and RCCL runs; arguments as `ideal_time`.

    A ring that leaves a group of fast links runs at what the host gives: A100s with bridges reach 208 GB/s as a pair
    and 20 as three (github:NVIDIA/nccl-tests issue 178).
    """
    network = device.measured.network
    per_link = ranks_per_domain if ranks_per_link is None else ranks_per_link
    xp = namespace(payload_bytes, ranks, ranks_per_domain, per_link, _or_one(network_bytes_per_s))
    inside = xp.minimum(ranks, ranks_per_domain)
    domains = ranks / inside
    traffic = _inside_traffic(collective, payload_bytes, inside, domains, sharing)
    fast = _fast(collective, device)
    if sharing.eta_inside is not None:
        own = {"eta": sharing.eta_inside, "few_ranks": 0.0, "mesh": None, "shared": 0.0}
        fast = Domain(msgspec.structs.replace(fast.constants, **own), fast.bytes_per_s)
    within, latency = _inside(xp, fast, payload_bytes, traffic, inside)
    if device.between is not None:
        slow = _inside(xp, _through_host(collective, device, device.between), payload_bytes, traffic, inside)
        leaves = inside > per_link
        within, latency = where(leaves, slow[0], within), where(leaves, slow[1], latency)
    sent = _between_traffic(collective, payload_bytes, inside, domains, (ranks - 1) / ranks, sharing)
    eta = sharing.eta_between or (network.eta_pairs if collective in _PAIRS else network.eta)
    rate = eta * _network(device, network_bytes_per_s, domains)
    between = sent / rate
    if collective == BROADCAST:  # each domain passes on what has arrived, chunk by chunk
        between = between + xp.maximum(domains - 2.0, 0.0) * xp.minimum(_RING_CHUNK, sent) / rate
    between = between + network.ramp_us * 1e-6 * (1.0 - xp.exp(-sent / (network.ramp_mb * 1e6)))
    doublings = xp.log2(xp.maximum(domains, 2.0)) - 1.0
    hop = (network.alpha_us + network.alpha_step_us * doublings) * 1e-6 * (domains > 1)
    return (latency + hop + xp.maximum(within, between)) * (ranks > 1)


def _or_one(given: Number | None) -> Number:
    return 1 if given is None else given


def _inside(xp: Any, domain: Domain, payload: Any, traffic: Any, ranks: Any) -> tuple[Any, Any]:
    """Transfer time (bandwidth and ramp) and latency of the part inside one domain."""
    constants, rate = domain.constants, domain.bytes_per_s
    linear = xp.minimum(ranks, _LINEAR_RANKS) - 2.0
    extra = linear + _LINEAR_RANKS * xp.log2(xp.maximum(ranks / _LINEAR_RANKS, 1.0))
    several = ranks > 1
    latency = (constants.alpha_us + constants.alpha_rank_us * xp.maximum(extra, 0.0)) * 1e-6 * several
    eta = constants.eta * (1.0 - constants.few_ranks / xp.maximum(ranks, 2.0))
    if constants.mesh is not None:
        eta = eta * (xp.minimum(xp.maximum(ranks, 2.0), constants.mesh) - 1.0) / (constants.mesh - 1.0)
    if constants.shared:
        eta = eta * (2.0 / xp.maximum(ranks, 2.0)) ** constants.shared
    reached = eta * rate
    if constants.gb_per_s is not None:
        reached = xp.minimum(reached, constants.gb_per_s * 1e9)
    transfer = traffic / reached
    if constants.switch_eta:
        in_switch = (ranks + 1.0) / ranks * payload / (constants.switch_eta * rate)
        transfer = xp.minimum(transfer, in_switch)
    ramp = (constants.ramp_us + constants.ramp_rank_us * xp.maximum(extra, 0.0)) * 1e-6
    ramp = ramp * (1.0 - xp.exp(-payload / (ranks * constants.ramp_mb * 1e6)))
    return transfer + ramp * several, latency
