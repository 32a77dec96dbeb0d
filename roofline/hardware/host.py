"""Kinds of hosts: what cards that share no fast link reach together, whatever cards they are."""

import math
from typing import Literal, get_args

import msgspec

from .measured import Collective

HostKind = Literal["p2p-switch", "p2p-root", "staged-fast", "staged"]
HOST_KINDS: tuple[HostKind, ...] = get_args(HostKind)
WITHOUT_P2P: HostKind = "staged"  # assumed of boards whose driver refuses peer-to-peer
WITH_P2P: HostKind = "p2p-root"  # assumed of all others
WIDTH_80 = 2 * 1.2816  # of the central 80 % of a normal distribution, in standard deviations


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Large all-reduces on one host: GB/s of bus bandwidth at each number of ranks."""

    host: str
    link_gb_per_s: float
    ranks: tuple[int, ...]
    gb_per_s: tuple[float, ...]
    source: str


class Host(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What joins cards of one server that have no fast link between them.

    Attributes:
        words: What it is.
        low: What a large all-reduce reaches on the slowest hosts of the kind: a share of the link, or GB/s where the
            kind has a rate of its own.
        high: The same on the fastest.
        source: Where the range comes from.
        collective: Constants by collective, as `Measured.collective`; of the PCIe link.
        measured: The hosts behind them.
    """

    words: str
    low: float
    high: float
    source: str
    collective: dict[str, Collective]
    measured: tuple[Evidence, ...] = ()

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of the rate over hosts of this kind (`low` to `high` is 80 %)."""
        return math.log(self.high / self.low) / WIDTH_80

    def reaches(self, link_gb_per_s: float) -> str:
        """What an all-reduce reaches over a link, lowest to highest, in words."""
        reference = self.collective["all_reduce"]
        if reference.gb_per_s is None:
            low, high = self.low * link_gb_per_s, self.high * link_gb_per_s
        else:
            low, high = (min(rate, reference.eta * link_gb_per_s) for rate in (self.low, self.high))
        return f"{low:.2g} to {high:.2g} GB/s"
