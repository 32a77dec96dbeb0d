"""What an answer has to say of the machine: its host, its power limit, and the caveats of its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..config.run import TrainConfig
from ..hardware.catalog import hosts
from ..timing.power import clock_share
from ..timing.ranks import assumes_network, uses_host

if TYPE_CHECKING:
    from ..hardware import Device


def machine_notes(train: TrainConfig, device: Device) -> list[str]:
    """What joins the cards of a node where no fast link does, and nodes; what a power limit costs, as sentences."""
    notes = []
    host = device.between
    if host is not None and uses_host(train, device):
        link = device.links["pcie"].gb_per_s
        said = f"{host.words}, where large all-reduces reach {host.reaches(link)}"
        if device.host is None:
            others = ", ".join(f"{kind} {other.reaches(link)}" for kind, other in hosts().items() if other != host)
            said = f"assumes {said} (--topology chooses: {others})"
        notes.append(f"cards of a node: {said}")
    if assumes_network(train, device) and device.node is not None and device.node.network_gbit_per_s is not None:
        notes.append(
            f"between nodes: assumes the usual {device.node.network_gbit_per_s:g} Gbit/s a device, of which the range "
            "holds a half as one standard deviation (--network-bandwidth says yours)"
        )
    share = clock_share(device)
    if share < 1 and device.power is not None:
        notes.append(
            f"at {device.tdp_w:g} of {device.power.tdp_w:g} W matrix kernels run at {share:.2f} of their usual clock: "
            "assumes that power beyond a static quarter goes with the cube of the clock"
        )
    return notes


def caveats_of(device: Device) -> list[str]:
    """What is to know of the device's figures: its own caveats, and what published runs say of its architecture."""
    return [caveat.rstrip(".") for caveat in (*device.caveats, *device.family.caveats)]
