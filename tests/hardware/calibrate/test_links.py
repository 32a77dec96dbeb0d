"""Links between GPUs, as an all-reduce finds them."""

from typing import Any
from unittest.mock import MagicMock

import msgspec
import pytest

from roofline.hardware import Device, load_device
from roofline.hardware.calibrate.links import SIZES, LinkSample, measure_links, with_links
from roofline.hardware.catalog import complete
from roofline.timing.collective import expected_time


def samples(ranks: int, bus_gb_per_s: float, latency_us: float) -> list[LinkSample]:
    """All-reduces of a link of that rate and latency."""
    found = []
    for size in SIZES:
        seconds = latency_us * 1e-6 + 2 * (ranks - 1) / ranks * size / (bus_gb_per_s * 1e9)
        found.append(LinkSample(ranks=ranks, bytes=size, rounds=(seconds, 1.02 * seconds)))
    return found


def bus_gb_per_s(device: Device, ranks: int) -> float:
    payload = max(SIZES)
    seconds = expected_time("all_reduce", payload, ranks, device, ranks_per_domain=ranks)
    return float(2 * (ranks - 1) / ranks * payload / seconds / 1e9)


@pytest.mark.parametrize("topology", ["p2p-root", "staged"])
@pytest.mark.parametrize("rate", [1.5, 14.0])
def test_a_host_is_as_measured_whatever_kind_was_assumed(topology: str, rate: float) -> None:
    from roofline.hardware import override

    card = override(load_device("rtx-4090"), topology=topology)
    found = with_links(card, samples(2, 1.1 * rate, 12) + samples(4, rate, 20))
    assert found.between is not None
    assert found.between.words.startswith("as measured here")
    assert bus_gb_per_s(found, 4) == pytest.approx(rate, rel=0.03)
    assert found.between.spread < 0.1
    assert found.host == found.between


def test_nvlink_is_as_measured_on_a_ring_and_in_the_switch() -> None:
    ring = with_links(load_device("a100-sxm-80gb"), samples(8, 200, 15))
    assert bus_gb_per_s(complete(ring), 8) == pytest.approx(200, rel=0.1)
    switch = with_links(load_device("h100-sxm-80gb"), samples(8, 400, 15))
    assert "switch_eta" in switch.measured_tables["collective"]["all_reduce"]
    assert bus_gb_per_s(complete(switch), 8) == pytest.approx(400, rel=0.15)


def test_one_gpu_has_no_links() -> None:
    torch = MagicMock()
    torch.cuda.device_count.return_value = 1
    assert measure_links(torch) == ()
    assert with_links(load_device("rtx-4090"), ()) == load_device("rtx-4090")


def test_two_and_all_gpus_are_measured_at_every_size() -> None:
    torch: Any = MagicMock()
    torch.cuda.device_count.return_value = 4
    ticks = iter(range(10_000))
    found = measure_links(torch, now=lambda: float(next(ticks)))
    assert [(s.ranks, s.bytes) for s in found] == [(n, size) for n in (2, 4) for size in SIZES]
    assert all(len(s.rounds) == 5 and s.seconds == 1.0 for s in found)
    assert msgspec.structs.asdict(found[0])["ranks"] == 2
