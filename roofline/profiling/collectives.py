"""What a collective's kernel sends, to how many ranks, and how long we expect it to take."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from ..errors import RooflineError
from ..timing.collective import BROADCAST, COLLECTIVES, expected_time
from .events import Message, Trace
from .inputs import arguments
from .link import Links

if TYPE_CHECKING:
    from ..hardware import Device

_WORDS = (
    ("all_reduce", r"all_?reduce"),
    ("all_gather", r"all_?gather"),
    ("reduce_scatter", r"reduce_?scatter"),
    ("all_to_all", r"all_?to_?all"),
    ("send_recv", r"send|recv|p2p"),
    ("broadcast", r"broadcast"),
    ("reduce", r"reduce"),
    ("gather", r"gather"),
    ("scatter", r"scatter"),
    ("barrier", r"barrier"),
)
_ELEMENT = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "Half": 2, "BFloat16": 2, "Short": 2}  # else 1
_RANGE = re.compile(r"^(nccl:|c10d::|symm_mem::|_c10d_functional::|record_param_comms|vllm::all_|xccl:)")


class Sent(msgspec.Struct, frozen=True):
    """One collective as a trace tells of it.

    Attributes:
        collective: Its name in our words.
        payload: Bytes, in the convention of `timing/collective.py`; None where the trace does not say.
        size: Ranks of the group.
        group: Name and purpose of the group.
        ranks: Which ranks, where the trace lists them.
        assumed: Whether the group's size is assumed to be all ranks.
    """

    collective: str
    payload: int | None
    size: int | None
    group: str = ""
    ranks: tuple[int, ...] = ()
    assumed: bool = False


def collective_word(name: str) -> str:
    """A collective's name in our words.

    >>> collective_word("_allgather_base"), collective_word("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(4096ul)")
    ('all_gather', 'all_reduce')
    """
    found = (word for word, pattern in _WORDS if re.search(pattern, name, re.IGNORECASE))
    return next(found, "collective")


def sent_by(trace: Trace, links: Links, row: int) -> Sent:
    """What the kernel in `row` sends: as it says itself, as `record_param_comms` around it, or by its shapes."""
    kernels, ranges = trace.kernels, trace.ranges
    number = kernels.message[row]
    around = list(links.around(links.range[row]))
    if number < 0:
        number = next((ranges.message[each] for each in around if ranges.message[each] >= 0), -1)
    if number >= 0:
        return _of_message(trace.messages[number], trace.world_size)
    for each in around:
        name = trace.names[ranges.name[each]]
        found = _RANGE.match(name) and arguments(trace.inputs[ranges.inputs[each]], 1 << 0)
        if found and found.tensors and not found.untyped:
            return _of_shapes(collective_word(name), sum(t.bytes for t in found.tensors[:1]), trace.world_size)
    named = [trace.names[ranges.name[each]] for each in around if _RANGE.match(trace.names[ranges.name[each]])]
    return Sent(collective_word((named or [trace.names[kernels.name[row]]])[0]), None, trace.world_size, assumed=True)


def _of_message(message: Message, world_size: int | None) -> Sent:
    word = collective_word(message.collective)
    each = _ELEMENT.get(message.dtype, 1)
    elements = {"all_gather": message.received, "send_recv": max(message.sent, message.received)}
    size = message.size or world_size
    words = " ".join(w for w in (message.group, message.words) if w and w != "undefined")
    payload = elements.get(word, message.sent) * each
    return Sent(word, payload, size, words, message.ranks, assumed=not message.size)


def _of_shapes(word: str, given: int, world_size: int | None) -> Sent:
    """By the input's bytes: an all-gather's payload is what all ranks give together."""
    payload = given * (world_size or 1) if word == "all_gather" else given
    return Sent(word, payload, world_size, assumed=True)


def bus_bytes(sent: Sent) -> float | None:
    """Bytes that cross each rank's link at best: payload x 2(n-1)/n and so on.

    Source: github:NVIDIA/nccl-tests doc/PERFORMANCE.md.
    """
    if sent.payload is None or not sent.size or sent.size < 2:
        return None
    share = (sent.size - 1) / sent.size
    factor = {"all_reduce": 2 * share, "all_gather": share, "reduce_scatter": share, "all_to_all": share}
    return sent.payload * factor.get(sent.collective, 1.0)


def expected_collective(sent: Sent, device: Device | None) -> float | None:
    """Seconds on the device's usual links and network; None where that cannot be said."""
    if device is None or sent.payload is None or not sent.size or sent.collective not in {*COLLECTIVES, BROADCAST}:
        return None
    domain = device.scale_up_devices if device.scale_up_devices > 1 else device.devices_per_node
    inside = min(sent.size, domain)
    if sent.ranks:
        inside = max(Counter(rank // domain for rank in sent.ranks).values())
    try:
        return float(expected_time(sent.collective, sent.payload, sent.size, device, ranks_per_domain=inside))
    except RooflineError:  # no link or network figure
        return None
