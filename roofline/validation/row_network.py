"""The network of a row of a table of measurements, from its number or the words of its source."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .rows import integer, number

_PER_NODE = re.compile(r"(?:(\d{1,9})\s*x\s*)?(?:[A-Za-z-]+\s+)*(\d{1,9})\s*Gb(?:/s|ps)?(?:\s+RoCE)?\s+per node")
_PER_DEVICE = re.compile(r"(\d{1,9})\s*Gb/s(?:\s*\([^)]*\))?\s+per GPU")
_STATED = re.compile(r"\(paper: (EDR|HDR|NDR|XDR); assumed\)")
INFINIBAND_GBIT = {"EDR": 100, "HDR": 200, "NDR": 400, "XDR": 800}  # per link
OMNI_PATH_GBIT = 100  # per link (Intel Omni-Path 100 series)


def stated_network(row: Mapping[str, str]) -> float | None:
    """Gbit/s per device: a number where the table has one, else read from the words of the source."""
    stated = number(row, "network_gbit_per_s")
    return stated or network_of(row.get("inter_node") or "", integer(row, "devices_per_node") or 8)


def network_of(words: str, devices_per_node: int) -> float | None:
    """Gbit/s per device, one way, from the words of a source; None where it does not say.

    >>> network_of("InfiniBand 8x200Gb/s per node", 8), network_of("RDMA 400Gb/s per GPU", 8)
    (200.0, 400.0)
    >>> network_of("4 OmniPath links per node", 8)
    50.0

    A number of links that the table assumes is not taken where it quotes the paper: one link per node is stated.

    >>> network_of("InfiniBand 8x200Gb/s per node (paper: HDR; assumed)", 8)
    25.0
    """
    stated = _STATED.search(words)
    if stated:
        return INFINIBAND_GBIT[stated[1]] / devices_per_node
    links = re.search(r"(\d{1,9}) Omni-?Path links per node", words)
    if links:
        return int(links[1]) * OMNI_PATH_GBIT / devices_per_node
    per_device = _PER_DEVICE.search(words)
    if per_device:
        return float(per_device[1])
    per_node = _PER_NODE.search(words)
    if per_node:
        return int(per_node[1] or 1) * float(per_node[2]) / devices_per_node
    return None
