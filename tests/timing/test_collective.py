"""Collectives: traffic counted by hand, never below the ideal, arrays like numbers, and what was measured."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roofline.errors import RooflineError
from roofline.hardware import HardwareError, load_device, override
from roofline.hardware.measured import Collective, Network
from roofline.timing.collective import COLLECTIVES, Sharing, expected_time, ideal_time

DEVICES = ("a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm", "gb200", "l40s", "v100-sxm2-32gb", "mi300x", "tpu-v5p")
NIC = 50e9


def both(name, payload, ranks, device, per_domain, network=NIC):
    where = {"ranks_per_domain": per_domain, "network_bytes_per_s": network}
    return ideal_time(name, payload, ranks, device, **where), expected_time(name, payload, ranks, device, **where)


@pytest.mark.parametrize("name", COLLECTIVES)
def test_one_rank_costs_nothing(name):
    assert both(name, 1e9, 1, load_device("a100-sxm-80gb"), 8) == (0, 0)


@pytest.mark.parametrize(
    ("name", "traffic"),
    # 8 ranks, 8e9 bytes: ring all-reduce 2*7/8, the others 7/8, a message whole
    [("all_reduce", 14e9), ("all_gather", 7e9), ("reduce_scatter", 7e9), ("all_to_all", 7e9), ("send_recv", 8e9)],
)
def test_ideal_traffic_inside_a_domain(name, traffic):
    device = load_device("a100-sxm-80gb")  # 300 GB/s one way
    assert ideal_time(name, 8e9, 8, device, ranks_per_domain=8) == pytest.approx(traffic / 300e9)


def test_switch_reduction_needs_less_traffic():
    device = load_device("h100-sxm-80gb")  # 450 GB/s one way; n + 1 of n instead of 2 (n - 1) of n
    assert ideal_time("all_reduce", 8e9, 8, device, ranks_per_domain=8) == pytest.approx(9e9 / 450e9)


@pytest.mark.parametrize(
    ("name", "traffic"),
    # 4 domains of 8: hierarchical all-reduce 2*(3/4)/8, gather and scatter (3/4)/8, all-to-all 3/4
    [("all_reduce", 1.5e9), ("all_gather", 0.75e9), ("reduce_scatter", 0.75e9), ("all_to_all", 6e9)],
)
def test_ideal_traffic_between_domains(name, traffic):
    device = load_device("h100-sxm-80gb")
    slow = 1e9  # the network decides
    assert ideal_time(name, 8e9, 32, device, ranks_per_domain=8, network_bytes_per_s=slow) == pytest.approx(
        traffic / slow
    )


def test_broadcast_enters_each_domain_once_and_fills_the_ring():
    device = load_device("a100-sxm-80gb")
    where = {"ranks_per_domain": 8, "network_bytes_per_s": 6.25e9}
    assert ideal_time("broadcast", 8e9, 8, device, ranks_per_domain=8) == pytest.approx(8e9 / 300e9)
    assert ideal_time("broadcast", 8e9, 16, device, **where) == pytest.approx(1e9 / 6.25e9)  # an eighth to each card

    def seconds(ranks, payload=64e6):
        return expected_time("broadcast", payload, ranks, device, **where)

    # from 32 domains to 128: 96 more wait for 512 KiB each, and two doublings more of latency
    rate = device.measured.network.eta * 6.25e9
    latency = 2 * device.measured.network.alpha_step_us * 1e-6
    assert seconds(1024) - seconds(256) == pytest.approx(96 * 524288 / rate + latency, rel=0.01)
    assert seconds(1024, 8e3) < 2 * seconds(256, 8e3)  # less than a chunk is passed on as it is


def test_message_between_domains_crosses_the_network():
    device = load_device("h100-sxm-80gb")
    assert ideal_time("send_recv", 1e9, 2, device, ranks_per_domain=1, network_bytes_per_s=NIC) == pytest.approx(0.02)
    assert ideal_time("send_recv", 1e9, 2, device, ranks_per_domain=2) == pytest.approx(1e9 / 450e9)


@settings(max_examples=300)
@given(
    st.sampled_from(DEVICES),
    st.sampled_from(COLLECTIVES),
    st.floats(1, 1e12),
    st.integers(0, 7),
    st.integers(0, 7),
    st.floats(1e9, 1e12),
)
def test_never_faster_than_light(device_id, name, payload, log_inside, log_domains, network):
    ranks, per_domain = 2 ** (log_inside + log_domains), 2**log_inside
    ideal, expected = both(name, payload, ranks, load_device(device_id), per_domain, network)
    assert expected >= ideal * (1 - 1e-9)
    assert expected >= 0


@pytest.mark.parametrize("name", COLLECTIVES)
@pytest.mark.parametrize("device_id", ["a100-sxm-80gb", "b200-sxm", "l40s", "mi300x"])
def test_arrays_give_element_by_element_what_numbers_give(name, device_id):
    device = load_device(device_id)
    payload = np.array([1e3, 1e7, 1e10])[:, None]
    ranks = np.array([1.0, 2, 8, 64])
    per_domain = np.minimum(ranks, 8)
    for time in (ideal_time, expected_time):
        together = time(name, payload, ranks, device, ranks_per_domain=per_domain, network_bytes_per_s=NIC)
        alone = [
            [time(name, s, int(n), device, ranks_per_domain=min(int(n), 8), network_bytes_per_s=NIC) for n in ranks]
            for s in payload[:, 0]
        ]
        np.testing.assert_allclose(together, alone, rtol=1e-12)


@given(st.sampled_from(COLLECTIVES), st.floats(1, 1e11), st.integers(1, 6), st.floats(1.01, 10))
def test_faster_links_are_never_slower(name, payload, log_ranks, factor):
    device = load_device("h100-sxm-80gb")
    ranks = 2**log_ranks
    slow = expected_time(name, payload, ranks, device, ranks_per_domain=2, network_bytes_per_s=NIC)
    fast = expected_time(name, payload, ranks, device, ranks_per_domain=2, network_bytes_per_s=NIC * factor)
    assert fast <= slow
    quicker = override(device, link_gb_per_s=450 * factor)
    assert expected_time(name, payload, ranks, quicker, ranks_per_domain=8, network_bytes_per_s=NIC) <= (
        expected_time(name, payload, ranks, device, ranks_per_domain=8, network_bytes_per_s=NIC)
    )


@given(st.sampled_from(COLLECTIVES), st.floats(1, 1e11), st.floats(1, 1e11))
def test_more_bytes_take_longer(name, first, second):
    device = load_device("a100-sxm-80gb")
    times = [
        expected_time(name, s, 16, device, ranks_per_domain=8, network_bytes_per_s=25e9)
        for s in sorted((first, second))
    ]
    assert times[0] <= times[1]


@pytest.mark.parametrize(
    ("device_id", "name", "ranks", "inside", "payload", "seconds"),
    [
        ("h100-sxm-80gb", "all_reduce", 8, 8, 2**33, 0.0317),  # 473 to 480 GB/s bus (github:stas00/ml-engineering)
        ("a100-sxm-80gb", "all_reduce", 8, 8, 2**34, 0.1280),  # 234.9 GB/s bus (github:stas00/ml-engineering)
        ("h100-sxm-80gb", "all_reduce", 64, 8, 2**33, 0.04398),  # 8 nodes, 400 Gbit/s (github:coreweave/nccl-tests)
        ("b200-sxm", "all_reduce", 32, 8, 2**34, 0.08718),  # 4 nodes, 400 Gbit/s (github:stas00/ml-engineering)
    ],
)
def test_published_runs_within_a_tenth(device_id, name, ranks, inside, payload, seconds):
    device = load_device(device_id)
    time = expected_time(name, payload, ranks, device, ranks_per_domain=inside, network_bytes_per_s=NIC)
    assert time == pytest.approx(seconds, rel=0.10)


def test_few_ranks_use_fewer_channels():
    device = load_device("a100-sxm-80gb")
    rates = [(n - 1) / n * 1e10 / expected_time("all_gather", 1e10, n, device, ranks_per_domain=8) for n in (2, 4, 8)]
    assert rates == sorted(rates)


def test_unknown_collective_names_the_known_ones():
    with pytest.raises(RooflineError, match="all_reduce"):
        expected_time("allreduce", 1e6, 8, load_device("a100-sxm-80gb"), ranks_per_domain=8)


def test_missing_network_figure_is_an_error_only_where_it_counts():
    device = load_device("rtx-4090")
    assert expected_time("all_reduce", 1e6, 4, device, ranks_per_domain=4) > 0
    with pytest.raises(HardwareError, match="network"):
        expected_time("all_reduce", 1e6, 8, device, ranks_per_domain=4)
    with pytest.raises(HardwareError, match="network"):
        expected_time("all_reduce", 1e6, np.array([4.0, 8.0]), device, ranks_per_domain=4)


# --- by hand: links and networks that give half, in no time but for what a test says

HALF = Collective(alpha_us=0.0, alpha_rank_us=0.0, eta=0.5, source="by hand")
NETWORK = Network(alpha_us=0.0, alpha_step_us=0.0, eta=0.5, eta_pairs=0.25, source="by hand")
A100 = load_device("a100-sxm-80gb")
FULL = 300e9 / 2  # bytes a second of its links


def cluster(device=A100, network=NETWORK, **links):
    """Devices whose links have these constants for every collective."""
    table = dict.fromkeys(COLLECTIVES, msgspec.structs.replace(HALF, **links))
    measured = msgspec.structs.replace(device.measured, collective=table, network=network)
    return msgspec.structs.replace(device, measured=measured)


def hosted(device, **links):
    """Devices whose host has these constants for every collective."""
    table = dict.fromkeys(COLLECTIVES, msgspec.structs.replace(HALF, **links))
    return msgspec.structs.replace(device, between=msgspec.structs.replace(device.between, collective=table))


@pytest.mark.parametrize(
    ("links", "ranks", "share"),
    [
        ({}, 8, 1),
        ({"few_ranks": 0.5}, 2, 1 - 0.5 / 2),
        ({"few_ranks": 0.5}, 8, 1 - 0.5 / 8),
        ({"mesh": 8}, 2, 1 / 7),  # one of the seven links of a full mesh
        ({"mesh": 8}, 4, 3 / 7),
        ({"mesh": 4}, 8, 1),
        ({"shared": 0.5}, 2, 1),
        ({"shared": 0.5}, 8, 1 / 2),  # the root of a quarter
        ({"gb_per_s": 75.0}, 8, 1 / 2),  # half of what the link gives
        ({"gb_per_s": 200.0}, 8, 1),
    ],
)
def test_what_a_link_gives_by_hand(links, ranks, share):
    sent = (ranks - 1) / ranks
    found = expected_time("all_gather", FULL, ranks, cluster(**links), ranks_per_domain=8)
    assert found == pytest.approx(sent / share, rel=1e-12)


@pytest.mark.parametrize(("switch", "traffic"), [(None, 2 * 7 / 8), (0.5, 9 / 8), (0.25, 2 * 7 / 8)])
def test_the_switch_reduces_where_that_is_faster(switch, traffic):
    found = expected_time("all_reduce", FULL, 8, cluster(switch_eta=switch), ranks_per_domain=8)
    assert found == pytest.approx(traffic)


@pytest.mark.parametrize(("ranks", "more"), [(2, 0), (3, 1), (8, 6), (16, 6 + 8), (32, 6 + 16)])
def test_every_further_rank_adds_latency_by_hand(ranks, more):
    """Each up to eight, and then each doubling as much as eight."""
    rank = {"ranks_per_domain": 64}
    late = cluster(alpha_us=1e6, alpha_rank_us=0.25e6)
    assert expected_time("all_gather", 0.0, ranks, late, **rank) == pytest.approx(1 + 0.25 * more)
    # of a payload of one s0 a rank, the loss of large messages has built up to 1 - 1/e
    lost = cluster(ramp_us=1e6, ramp_rank_us=0.25e6, ramp_mb=FULL / ranks / 1e6)
    whole = (ranks - 1) / ranks + (1 + 0.25 * more) * (1 - math.exp(-1))
    assert expected_time("all_gather", FULL, ranks, lost, **rank) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "domains", "sent", "eta"),
    [
        ("all_gather", 1, 0, 0.5),
        ("all_gather", 4, 31 / 32 / 8, 0.5),  # one ring through all 32, and eight cards to send
        ("all_reduce", 4, 2 * 31 / 32 / 8, 0.5),
        ("all_to_all", 4, 3 / 4, 0.25),
        ("broadcast", 4, 1 / 8, 0.5),
        ("broadcast", 2, 1 / 8, 0.5),
    ],
)
def test_a_network_by_hand(name, domains, sent, eta):
    payload, where = 1e12, {"ranks_per_domain": 8, "network_bytes_per_s": 1e9}
    seconds = sent * payload / 1e9 / eta
    chunks = max(domains - 2, 0) * 524288 / 1e9 / eta if name == "broadcast" else 0
    inside = expected_time(name, payload, 8, cluster(), ranks_per_domain=8)
    assert expected_time(name, payload, 8 * domains, cluster(), **where) == pytest.approx(
        max(inside, seconds + chunks), rel=1e-9
    )
    slow = Network(alpha_us=3e6, alpha_step_us=5e6, eta=0.5, eta_pairs=0.25, ramp_us=7e6, ramp_mb=1e6, source="by hand")
    late = cluster(network=slow, alpha_us=2e6)
    hops = {1: 0, 2: 3, 4: 3 + 5}[domains]
    lost = 7 * (1 - math.exp(-sent))
    assert expected_time(name, payload, 8 * domains, late, **where) == pytest.approx(
        2 + hops + max(inside, seconds + chunks + lost), rel=1e-9
    )


@pytest.mark.parametrize(("name", "traffic"), [("all_gather", 7 / 8), ("reduce_scatter", 7 / 8), ("all_reduce", 7 / 4)])
def test_a_network_that_takes_no_time_leaves_what_runs_inside_each_domain(name, traffic):
    where = {"ranks_per_domain": 8, "network_bytes_per_s": 1e18}
    assert ideal_time(name, FULL, 32, cluster(), **where) == pytest.approx(traffic / 2)
    assert expected_time(name, FULL, 32, cluster(), **where) == pytest.approx(traffic)


def test_ranks_alone_in_their_domains_pay_for_no_link():
    late = cluster(alpha_us=1e6, ramp_us=1e6, network=msgspec.structs.replace(NETWORK, alpha_us=3e6))
    found = expected_time("all_gather", 1e12, 2, late, ranks_per_domain=1, network_bytes_per_s=1e9)
    assert found == pytest.approx(3 + 500 / 0.5)


def test_a_small_broadcast_is_passed_on_as_it_is():
    """To 16 domains of eight cards: 1,000 bytes a card, once and 14 times more."""
    where = {"ranks_per_domain": 8, "network_bytes_per_s": 1e9}
    assert expected_time("broadcast", 8e3, 128, cluster(), **where) == pytest.approx(15 * 1e3 / 0.5e9)


def test_a_message_between_domains_by_hand():
    far = expected_time("send_recv", 1e9, 2, cluster(), ranks_per_domain=1, network_bytes_per_s=1e9)
    assert far == pytest.approx(1 / 0.25)
    for device in (cluster(), load_device("l40s")):  # over a network faster than links that it does not need
        for name in ("send_recv", "broadcast"):
            ideal = ideal_time(name, 1e9, 2, device, ranks_per_domain=1, network_bytes_per_s=1e12)
            assert ideal == pytest.approx(1e-3)
    assert expected_time("send_recv", FULL, 2, cluster(), ranks_per_domain=2) == pytest.approx(1)


def test_copies_that_travel_together_by_hand():
    """4 domains of 8: inside 7/8 of the payload, whose quarter stays in a domain where nothing is handed on."""
    fast, slow = {"network_bytes_per_s": 1e15}, {"network_bytes_per_s": 1e9}
    where = {"ranks_per_domain": 8}

    def takes(sharing, network, payload=FULL):
        ideal = ideal_time("all_to_all", payload, 32, cluster(), **where, **network, sharing=sharing)
        return ideal, expected_time("all_to_all", payload, 32, cluster(), **where, **network, sharing=sharing)

    plain, handed = Sharing(inside=0.5, between=0.25), Sharing(inside=0.5, between=0.25, forwards=True)
    assert takes(plain, fast) == pytest.approx((7 / 8 / 4 / 2 / 2, 7 / 8 / 4 / 2))
    assert takes(handed, fast) == pytest.approx((7 / 8 / 2 / 2, 7 / 8 / 2))
    assert takes(plain, slow, 1e12) == pytest.approx((1e3 * 3 / 4 / 4, 1e3 * 3 / 4 / 4 / 0.25))
    own = msgspec.structs.replace(handed, eta_inside=0.75, eta_between=0.8)
    assert takes(own, fast)[1] == pytest.approx(7 / 8 / 2 * 0.5 / 0.75)
    assert takes(own, slow, 1e12)[1] == pytest.approx(1e3 * 3 / 4 / 4 / 0.8)
    # and nothing else of the links' constants
    slower = cluster(few_ranks=0.5, mesh=16, shared=0.5)
    found = expected_time("all_to_all", FULL, 32, slower, **where, **fast, sharing=own)
    assert found == pytest.approx(7 / 8 / 2 * 0.5 / 0.75)


def test_what_leaves_a_bridge_crosses_pcie_by_hand():
    """Bridged pairs in a PCIe box of four: a pair runs at its bridge, a ring of four at what the host gives."""
    pairs = hosted(cluster(load_device("h100-nvl-94gb"), alpha_us=1e6), eta=0.25, alpha_us=2e6)
    bridge, pcie = pairs.links["scale_up"].bytes_per_s, pairs.links["pcie"].bytes_per_s
    assert bridge > 4 * pcie

    def takes(name, ranks, per_link):
        where = {"ranks_per_domain": ranks, "ranks_per_link": per_link}
        return tuple(time(name, 1e12, ranks, pairs, **where) for time in (ideal_time, expected_time))

    assert takes("all_gather", 2, 2) == pytest.approx((1e12 / 2 / bridge, 1 + 1e12 / 2 / bridge / 0.5))
    # at best each of a pair sends half of the half that is in the other pair
    assert takes("all_gather", 4, 2) == pytest.approx((1e12 / 4 / pcie, 2 + 1e12 * 3 / 4 / pcie / 0.25))
    assert takes("all_reduce", 4, 2) == pytest.approx((1e12 / 2 / pcie, 2 + 2 * 1e12 * 3 / 4 / pcie / 0.25))
    assert takes("send_recv", 2, 1)[0] == pytest.approx(1e12 / pcie)
    # cards without a bridge have nothing but the host
    cards = hosted(load_device("l40s"), eta=0.25)
    found = expected_time("all_gather", 1e12, 4, cards, ranks_per_domain=4)
    assert found == pytest.approx(1e12 * 3 / 4 / cards.links["pcie"].bytes_per_s / 0.25)
