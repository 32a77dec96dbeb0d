"""How tokens travel to experts on other ranks: facts of each dispatcher in `dispatchers.toml`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import msgspec

from ..errors import look_up
from ..reading import packaged, read_packaged

if TYPE_CHECKING:
    from collections.abc import Mapping


class Dispatcher(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to send tokens to experts.

    Attributes:
        summary: One line.
        gathers: Whether every rank gets all tokens.
        sorts: Whether what arrives, ordered by the rank it comes from, is copied once more in the order of the experts
            there, and back.
        once_per_rank: Whether a token's copies for experts of one rank travel as one.
        once_per_node: Whether they cross the network once per node.
        forwards: Whether what comes over the network is handed on inside the node.
        eta_inside: Share of the fast link's bandwidth it reaches; None: as any all-to-all.
        eta_between: Share of the network's bandwidth it reaches; None: as any all-to-all.
        sms: Units of the device it holds while it runs beside compute.
        source: Where the facts come from.
    """

    summary: str
    gathers: bool = False
    sorts: bool = False
    once_per_rank: bool = False
    once_per_node: bool = False
    forwards: bool = False
    eta_inside: float | None = None
    eta_between: float | None = None
    sms: int = 20
    source: str


@cache
def dispatchers() -> Mapping[str, Dispatcher]:
    """All of them by name."""
    return read_packaged(packaged(__name__, "dispatchers.toml"), dict[str, Dispatcher])


def dispatcher(name: str) -> Dispatcher:
    """One by name.

    Raises:
        RooflineError: There is none of that name.
    """
    return look_up("dispatcher", name, dispatchers())
