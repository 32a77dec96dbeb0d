"""Ops on a device: which ranks a collective joins, over which links, and what one run costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.config.run import resolve, train_config
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.timing.ranks import (
    LOAD_IMBALANCE,
    Ranks,
    deduplicated,
    domain_size,
    network_bytes_per_s,
    price,
    rank_groups,
    ranks_in_domain,
)

H100 = load_device("h100-sxm-80gb")  # 8 in a node
GB200 = load_device("gb200")  # 72 in a rack
LLAMA, MIXTRAL = load_model("llama-3-8b"), load_model("mixtral-8x7b")


def groups(device=H100, model=LLAMA, **options):
    found = rank_groups(resolve(train_config(options), model), device)
    return {name: (ranks.total, ranks.per_domain) for name, ranks in found.items()}


def priced(model=LLAMA, device=H100, **options):
    return price(build_step(model, train_config({"seq_len": 1024, **options})), device)


def test_tensor_parallel_ranks_are_closest_then_context_then_data():
    found = groups(num_devices=64, tp=4, cp=2, pp=2)
    assert found["tp"] == (4, 4)
    assert found["cp"] == (2, 2)  # two groups of 4 fill a node of 8
    assert found["dp"] == (8, 2)  # dp x cp: four apart, so two to a node
    assert found["pp"] == (2, 1)  # a stage is 32 devices: the next is elsewhere


def test_neighbouring_stages_share_a_node_where_it_holds_both():
    assert groups(num_devices=8, tp=2, pp=4)["pp"] == (2, 2)
    assert groups(num_devices=16, tp=2, pp=4)["pp"] == (2, 2)
    assert groups(num_devices=32, tp=8, pp=4)["pp"] == (2, 1)
    assert groups(num_devices=8, tp=8)["pp"] == (1, 1)


def test_tensor_parallelism_across_nodes():
    assert groups(num_devices=32, tp=32)["tp"] == (32, 8)
    assert groups(num_devices=32, tp=32, devices_per_node=4)["tp"] == (32, 4)
    assert groups(GB200, num_devices=32, tp=32)["tp"] == (32, 32)


def test_experts_are_tp_apart_unless_whole():
    options = {"num_devices": 32, "tp": 4, "ep": 8}
    split, whole = (groups(model=MIXTRAL, **options, sequence_parallel=flag) for flag in (False, True))
    assert (split["ep"], whole["ep"]) == ((8, 2), (8, 8))
    assert (split["expert_dp"], whole["expert_dp"]) == ((1, 1), (4, 1))


def test_the_domain_of_fast_links():
    train = resolve(train_config({"num_devices": 128}), LLAMA)
    stated = resolve(train_config({"num_devices": 128, "devices_per_node": 4}), LLAMA)
    assert [domain_size(one, device) for device in (H100, GB200) for one in (train, stated)] == [8, 4, 72, 72]
    assert domain_size(train, load_device("a10g")) == load_device("a10g").devices_per_node  # joined by PCIe


@given(st.integers(1, 64), st.integers(1, 128))
def test_ranks_in_a_domain(total, stride):
    assert ranks_in_domain(total, stride) == max(total // stride, 1)


def test_network_as_stated():
    assert network_bytes_per_s(train_config({"network_gbit_per_s": 400})) == 50e9
    assert network_bytes_per_s(train_config({})) is None
    slow, fast = (
        sum(item.expected for item in priced(num_devices=16, network_gbit_per_s=gbit) if item.op.group == "dp")
        for gbit in (100, 400)
    )
    assert fast < slow


@given(st.integers(1, 16), st.integers(1, 8))
def test_copies_to_one_domain_travel_there_once(copies, domains):
    share = deduplicated(Ranks(8 * domains, 8, 8), copies)
    assert 1 / copies <= share + 1e-12 <= 1 + 1e-12
    if domains == 1:
        assert share == 1
    together = deduplicated(Ranks(np.array([8.0 * domains, 8.0]), np.array([8.0, 8.0]), 8), copies)
    assert list(np.broadcast_to(together, 2)) == pytest.approx([share, 1])


def test_two_copies_over_two_domains_by_hand():
    # two throws hit 1 domain with probability 1/2, 2 with 1/2: 1.5 domains for 2 copies
    assert deduplicated(Ranks(16, 8, 8), 2) == 0.75


def test_one_rank_sends_nothing():
    assert all(item.expected == item.ideal == 0 for item in priced() if item.op.kind == "collective")


def test_the_fullest_expert_rank_sets_the_pace():
    from roofline.timing.kernel import expected_time

    (up,) = [item for item in priced(MIXTRAL) if item.op.name == "experts.up"]
    sustained = H100.measured.sustained.compute
    assert up.expected == pytest.approx(expected_time(up.op, H100) / sustained * LOAD_IMBALANCE)


def test_software_efficiency_slows_matmuls_only():
    def times(stack):
        return {item.op.name: item.expected for item in priced(stack=stack) if item.op.phase == "forward"}

    from roofline.config.stack import load_stack

    best, slower = times("megatron"), times("deepspeed")
    ratio = load_stack("deepspeed").efficiency / load_stack("megatron").efficiency
    assert best["mlp.up"] == pytest.approx(slower["mlp.up"] * ratio)
    assert best["attention.core"] == pytest.approx(slower["attention.core"] * ratio)
    assert best["mlp.norm"] == slower["mlp.norm"]


def test_a_plain_all_to_all_sends_every_copy():
    options = {"num_devices": 16, "ep": 8, "dp": 16, "devices_per_node": 4}
    once, each = (
        next(item.expected for item in priced(MIXTRAL, **options, stack=stack) if item.op.name == "moe.dispatch")
        for stack in ("nemo", "torchtitan")
    )
    assert each > once  # two experts a token, two nodes: 3/4 of the copies cross
