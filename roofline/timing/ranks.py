"""Every op of a step with its time on a device: ideal and expected, and which ranks its collectives join."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import msgspec

from ..arrays import Number, maximum, minimum, some, where
from ..config.dispatch import dispatcher
from ..config.run import TrainConfig, known_word
from ..counting.op import Group, Op
from ..counting.ownership import expert_ranks, expert_shard_degree, shard_degree, shard_ranks
from ..counting.step import Step
from . import collective, kernel
from .collective import ALONE, Sharing
from .host import ON_HOST, host_time
from .power import clock_share

if TYPE_CHECKING:
    from ..hardware import Device


class PricedOp(msgspec.Struct, frozen=True):
    """An op and the seconds of one run of it: what measured kernels make of it, on request the roofline's.

    `on` says how the ops of its step are timed.
    """

    op: Op
    expected: Number
    on: Seconds | None = None

    @property
    def ideal(self) -> Number:
        """The roofline's seconds, worked out when they are read."""
        assert self.on is not None
        return self.on.ideal(self.op)


class Ranks(msgspec.Struct, frozen=True):
    """A group of ranks: how many, how many of them share one domain (node or rack), and how many its fastest link."""

    total: Number
    per_domain: Number
    per_link: Number


def price(step: Step, device: Device) -> list[PricedOp]:
    """Time every op of `step` on `device`."""
    [priced] = price_all([step], device)
    return priced


def price_all(steps: Sequence[Step], device: Device) -> list[list[PricedOp]]:
    """As `price`, of steps that differ in what they recompute alone: the same work is timed once."""
    step = steps[0]
    seconds = Seconds(step, device)
    if len(steps) == 1:
        return [[PricedOp(op, seconds.expected(op), seconds) for op in step.ops]]
    known: dict[tuple[object, ...], Number] = {}
    found = []
    for each in steps:
        works = [_work(op) for op in each.ops]
        known |= {work: seconds.expected(op) for work, op in zip(works, each.ops, strict=True) if work not in known}
        found.append([PricedOp(op, known[work], seconds) for work, op in zip(works, each.ops, strict=True)])
    return found


def with_network_of(step: Step, device: Device, priced: Sequence[PricedOp]) -> list[PricedOp]:
    """What is priced already, with what crosses nodes timed anew: of a step that differs in its network alone."""
    seconds = Seconds(step, device)
    groups = {group: seconds.ranks(group) for item in priced if (group := item.op.group) is not None}
    crossing = {group for group, ranks in groups.items() if some(ranks.total > ranks.per_domain)}
    return [
        PricedOp(item.op, seconds.expected(item.op), seconds) if item.op.group in crossing else item for item in priced
    ]


def _work(op: Op) -> tuple[object, ...]:
    """What its time depends on: figures (arrays, too) by identity, since what is kept or run again shares them."""
    return (op.phase == "backward", *map(id, _TIMED(op)))


_UNTIMED = {"phase", "count", "saved_bytes", "saved", "model_flops"}
_TIMED = attrgetter(*(name for name in Op.__struct_fields__ if name not in _UNTIMED))


class Seconds:
    """Seconds of one run of any op of a step."""

    def __init__(self, step: Step, device: Device) -> None:
        self.step, self.device = step, device
        self.network = network_bytes_per_s(step.train)
        self.clock = clock_share(device)
        self.lasting = self.clock * step.stack.efficiency
        self.recipe = step.train.recipe
        self._ranks: dict[Group, Ranks] = {}

    def ranks(self, group: Group) -> Ranks:
        """Where the ranks of a group lie."""
        if group not in self._ranks:
            self._ranks[group] = ranks_of(group, self.step.train, self.device)
        return self._ranks[group]

    def ideal(self, op: Op) -> Number:
        """The roofline's."""
        if op.kind == "collective":
            return self._collective(op, collective.ideal_time)
        if op.kind in ON_HOST:
            return host_time(op, self.step.train, self.device)[0]
        return kernel.ideal_time(op, self.device)

    def expected(self, op: Op) -> Number:
        """What measured kernels make of it."""
        train = self.step.train
        if op.kind == "collective":
            expected = self._collective(op, collective.expected_time)
        elif op.kind in ON_HOST:
            _, expected = host_time(op, train, self.device)
        else:
            expected = kernel.expected_time(op, self.device, attention=train.attention)
            if op.kind == "matmul":
                expected = expected / (self.device.measured.sustained.rate(op.dtype) * self.lasting)
                if self.recipe is not None and op.dtype == self.recipe.dtype:
                    expected = expected / self.recipe.rate
            elif op.kind == "attention":  # stays below the default power limit
                expected = expected / self.lasting
        return expected * train.imbalance if op.routed else expected

    def _collective(self, op: Op, time: Callable[..., Number]) -> Number:
        assert op.collective is not None
        assert op.group is not None
        ranks = self.ranks(op.group)
        if not some(ranks.total > 1):  # nothing to send, and perhaps no link to send it over
            return 0.0
        return time(
            op.collective,
            op.bytes_sent,
            ranks.total,
            self.device,
            ranks_per_domain=ranks.per_domain,
            ranks_per_link=ranks.per_link,
            network_bytes_per_s=self.network,
            sharing=sharing_of(self.step, op, ranks),
        )


def sharing_of(step: Step, op: Op, ranks: Ranks) -> Sharing:
    """What of an all-to-all's payload travels where the dispatcher sends a token's copies together."""
    if op.collective != "all_to_all" or op.copies == 1:
        return ALONE
    how = dispatcher(known_word(step.train.dispatcher))
    ways = ranks.total * op.spread, ranks.total / ranks.per_domain * op.spread
    return Sharing(
        inside=share_sent(ways[0], op.copies) if how.once_per_rank else 1,
        between=share_sent(ways[1], op.copies) if how.once_per_node else 1,
        forwards=how.forwards,
        eta_inside=how.eta_inside,
        eta_between=how.eta_between,
    )


def share_sent(places: Number, copies: int) -> Number:
    """Share of the copies of a token that is left when those to one place travel there once.

    `copies` balls in D places hit D*(1 - (1-1/D)^copies) of them. A router may be held to some of the places
    (node-limited dispatch: arXiv:2412.19437, section 3.2.2).
    """
    places = maximum(places, 1)
    return places * (1 - (1 - 1 / places) ** copies) / copies


def network_bytes_per_s(train: TrainConfig) -> Number | None:
    """The network share of one device where the configuration states it."""
    return None if train.network_gbit_per_s is None else train.network_gbit_per_s * 1e9 / 8


def assumes_network(train: TrainConfig, device: Device) -> bool:
    """Whether ranks talk over a network of which nobody said what it is."""
    crosses = some(train.num_devices > domain_size(train, device))
    return train.network_gbit_per_s is None and device.network_assumed and crosses


def domain_size(train: TrainConfig, device: Device) -> Number:
    """Devices that need no network between them: the rack of an NVL72 or TPU pod, else the node."""
    if device.scale_up_devices > device.devices_per_node:
        return device.scale_up_devices
    return device.devices_per_node if train.devices_per_node is None else train.devices_per_node


def link_size(train: TrainConfig, device: Device) -> Number:
    """Devices of a domain that its fastest link joins: all, but in a PCIe box with bridged groups."""
    domain = domain_size(train, device)
    if device.between is None or "scale_up" not in device.links:
        return domain
    return minimum(device.scale_up_devices, domain)


def uses_host(train: TrainConfig, device: Device) -> bool:
    """Whether any rank talks to another of its node over PCIe."""
    if device.between is None:
        return False
    in_node = minimum(train.num_devices, domain_size(train, device))
    joined = link_size(train, device) if "scale_up" in device.links else 1
    return some(in_node > joined)


# Ranks of each group, and how far they stand apart: tensor-parallel ones closest together, then cp, ep and dp, as
# Megatron orders them (arXiv:2104.04473, section 3.3: tensor parallelism within a node, pipeline across). Ranks that
# share an expert lie together, groups of experts stand that far apart.
_SPREAD: Mapping[str, Callable[[TrainConfig], tuple[Number, Number]]] = {
    "tp": lambda train: (train.tp, 1),
    "cp": lambda train: (train.cp, train.tp),
    "etp": lambda train: (train.expert_tensor_parallel, 1),
    "ep": lambda train: (train.ep, train.expert_tensor_parallel),
    "dp": lambda train: (shard_ranks(train), train.tp),
    "shard": lambda train: (shard_degree(train), train.tp),
    "replica": lambda train: (shard_ranks(train) / shard_degree(train), train.tp * shard_degree(train)),
    "expert_dp": lambda train: (expert_ranks(train), _apart(train)),
    "expert_shard": lambda train: (expert_shard_degree(train), _apart(train)),
    "expert_replica": lambda train: (
        expert_ranks(train) / expert_shard_degree(train),
        _apart(train) * expert_shard_degree(train),
    ),
}


def _apart(train: TrainConfig) -> Number:
    """Devices from one rank to the next that holds the same experts."""
    return train.ep * train.expert_tensor_parallel


def ranks_of(group: Group, train: TrainConfig, device: Device) -> Ranks:
    """Where the ranks of a group lie."""
    if group == "pp":
        return stage_ranks(train, device)
    total, stride = _SPREAD[group](train)
    sizes = domain_size(train, device), link_size(train, device)
    per_domain, per_link = (maximum(minimum(total, ranks_in_domain(size, stride)), 1) for size in sizes)
    return Ranks(total, per_domain, per_link)


def stage_ranks(train: TrainConfig, device: Device) -> Ranks:
    """Where neighbouring stages lie: in one domain only if it holds more than one whole stage."""
    both = 2 * train.tp * shard_ranks(train)
    domain, link = domain_size(train, device), link_size(train, device)
    return Ranks(minimum(train.pp, 2), where(both <= domain, 2, 1), where(both <= link, 2, 1))


def ranks_in_domain(total: Number, stride: Number) -> Number:
    """How many ranks `stride` apart fit in a domain of `total` devices; 1 at the least."""
    return maximum(total // stride, 1)
