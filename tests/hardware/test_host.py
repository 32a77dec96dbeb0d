"""Hosts of cards that share only PCIe: facts agree with their evidence, more cards are never worse than it says."""

import itertools

import pytest

import roofline
from roofline.hardware import HardwareError, all_devices, load_device, override
from roofline.hardware.catalog import hosts
from roofline.hardware.host import HOST_KINDS
from roofline.timing.collective import COLLECTIVES, expected_time

LARGE = 1e9
CARDS = [device for device in all_devices() if device.between is not None and device.kind == "gpu"]


def bus_gb_per_s(device, ranks, **where):
    """What a large all-reduce moves, as NCCL counts it."""
    seconds = expected_time("all_reduce", LARGE, ranks, device, ranks_per_domain=ranks, **where)
    return 2 * (ranks - 1) / ranks * LARGE / seconds / 1e9


def test_every_kind_is_there_with_every_collective_and_a_source():
    assert tuple(hosts()) == HOST_KINDS
    for host in hosts().values():
        assert set(host.collective) == set(COLLECTIVES)
        assert 0 < host.low < host.high
        assert all(entry.source for entry in (host, *host.collective.values(), *host.measured))


@pytest.mark.parametrize("kind", HOST_KINDS)
def test_constants_lie_within_the_range_and_every_measured_host_does(kind):
    host = hosts()[kind]
    card = override(load_device("l40s"), topology=kind)
    absolute = host.collective["all_reduce"].gb_per_s is not None
    scale = 1 if absolute else 1 / card.links["pcie"].gb_per_s
    for ranks in (2, 4, 8):
        assert host.low <= bus_gb_per_s(card, ranks) * scale <= host.high * 1.06  # a pair may top the range of many
    for found in host.measured:
        assert len(found.ranks) == len(found.gb_per_s)
        for rate in found.gb_per_s:
            reached = rate if absolute else rate / found.link_gb_per_s
            assert host.low * 0.94 <= reached <= host.high * 1.06, found.host


def test_cards_whose_driver_refuses_peer_to_peer_are_assumed_staged_and_others_not():
    kinds = {device.id: next(k for k, host in hosts().items() if host is device.between) for device in CARDS}
    assert {kinds[name] for name in ("rtx-3090", "rtx-4090", "rtx-5090")} == {"staged"}
    assert {kinds[name] for name in ("l40s", "rtx-a6000", "a100-pcie-80gb", "rx-7900-xtx")} == {"p2p-root"}
    assert load_device("h100-sxm-80gb").between is None  # NVLink joins the node


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.id)
@pytest.mark.parametrize("kind", HOST_KINDS)
def test_more_cards_never_cost_more_than_the_host_explains(card, kind):
    card = override(card, topology=kind)
    dtype = "bf16" if "bf16" in card.peaks else "fp16"
    steps, reductions = [], []
    for devices in (n for n in (1, 2, 4, 8) if n <= card.devices_per_node):
        options = {"num_devices": devices, "micro_batch": 4, "global_batch": 32, "seq_len": 512, "stack": "compiled"}
        result = roofline.estimate("gpt2", card, dtype=dtype, sharding="none", **options)
        gradients = 4 * 124.5e6  # bytes, reduced in fp32 at the most
        joined = min(devices, card.scale_up_devices) if "scale_up" in card.links else devices
        steps.append(result.step_time_s)
        reductions.append(
            expected_time("all_reduce", gradients, devices, card, ranks_per_domain=devices, ranks_per_link=joined)
        )
    for (before, after), (few, many) in zip(itertools.pairwise(steps), itertools.pairwise(reductions), strict=True):
        assert after <= before + (many - few), (kind, steps)


def test_eight_geforce_cards_are_faster_than_four():
    # one L40S host once stood for all: 889 ms on one card, 320 on four, 675 on eight
    options = {"micro_batch": 12, "global_batch": 96}
    steps = [roofline.estimate("gpt2", "rtx-4090", num_devices=n, **options).step_time_s for n in (1, 2, 4, 8)]
    assert steps == sorted(steps, reverse=True)


def test_the_host_is_said_with_its_range_and_widens_the_interval():
    def of(**options):
        return roofline.estimate("gpt2", options.pop("device", "rtx-4090"), micro_batch=4, num_devices=8, **options)

    assumed = of()
    assert any("assumes no peer-to-peer" in note and "0.9 to 6.1 GB/s" in note for note in assumed.notes)
    stated = of(device=override(load_device("rtx-4090"), topology="p2p-switch"))
    assert any(note.startswith("cards of a node: peer-to-peer under PCIe switches") for note in stated.notes)
    assert stated.step_time_s < assumed.step_time_s
    width = [result.step_time_high_s / result.step_time_low_s for result in (assumed, stated)]
    assert width[0] > 1.5 * width[1]
    alone = roofline.estimate("gpt2", "rtx-4090", micro_batch=4)
    assert not any("cards of a node" in note for note in alone.notes)


def test_a_bridge_joins_pairs_and_leaves_the_rest_to_the_host():
    # A100 PCIe with bridges: 208 GB/s as a pair, 20 as three (github:NVIDIA/nccl-tests issue 178)
    bridged = override(load_device("a100-pcie-80gb"), topology="bridge")
    assert bus_gb_per_s(bridged, 2, ranks_per_link=2) == pytest.approx(208, rel=0.15)
    assert bus_gb_per_s(bridged, 3, ranks_per_link=2) == pytest.approx(20, rel=0.25)
    apart = roofline.estimate("gpt2", bridged, num_devices=8, tp=4, micro_batch=4).step_time_s
    pairs = roofline.estimate("gpt2", bridged, num_devices=8, tp=2, micro_batch=4).step_time_s
    plain = roofline.estimate("gpt2", "a100-pcie-80gb", num_devices=8, tp=2, micro_batch=4).step_time_s
    assert pairs < plain < apart


def test_fast_links_switched_off_leave_pcie():
    server = override(load_device("h100-sxm-80gb"), topology="p2p-root")
    assert set(server.links) == {"pcie"}
    assert server.between is hosts()["p2p-root"]
    with_bridge = override(load_device("h100-nvl-94gb"), topology="staged")
    assert with_bridge.links["scale_up"].devices == 2  # the pair's bridge stays
    assert with_bridge.between is hosts()["staged"]


@pytest.mark.parametrize(
    ("device_id", "words", "message"),
    [
        ("rtx-4090", "p2p-swich", "p2p-switch"),
        ("rtx-4090", "bridge", "no bridge fits rtx-4090"),
        ("rtx-3090", "staged+p2p-root", "two kinds of one host"),
        ("epyc-9654", "staged", "no PCIe link"),
    ],
)
def test_what_cannot_be_is_one_line(device_id, words, message):
    with pytest.raises((HardwareError, roofline.RooflineError), match=message):
        override(load_device(device_id), topology=words)
