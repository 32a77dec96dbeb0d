"""Ops on a device: which ranks a collective joins, over which links, and what one run costs."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.config.recipes import recipes
from roofline.config.settle import resolve, train_config
from roofline.counting.step import build_step, without_updates
from roofline.hardware import load_device
from roofline.model.load import load_model
from roofline.timing import kernel
from roofline.timing.collective import ALONE
from roofline.timing.ranks import (
    Ranks,
    assumes_network,
    domain_size,
    link_size,
    network_bytes_per_s,
    price,
    price_all,
    ranks_in_domain,
    ranks_of,
    share_sent,
    sharing_of,
    uses_host,
    with_network_of,
)

H100 = load_device("h100-sxm-80gb")  # 8 in a node
GB200 = load_device("gb200")  # 72 in a rack
LLAMA, MIXTRAL = load_model("llama-3-8b"), load_model("mixtral-8x7b")


def groups(device=H100, model=LLAMA, **options):
    train = resolve(train_config(options), model)
    found = {name: ranks_of(name, train, device) for name in ("tp", "cp", "etp", "ep", "dp", "expert_dp", "pp")}
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
def test_copies_to_one_place_travel_there_once(copies, places):
    share = share_sent(places, copies)
    assert 1 / copies <= share + 1e-12 <= 1 + 1e-12
    if places == 1:
        assert share == 1 / copies
    assert list(share_sent(np.array([1.0 * places, 1.0]), copies)) == pytest.approx([share, 1 / copies])


def test_two_copies_over_two_places_by_hand():
    # two throws hit 1 place with probability 1/2, 2 with 1/2: 1.5 places for 2 copies
    assert share_sent(2, 2) == 0.75


def test_a_router_held_to_some_nodes_sends_to_those():
    # DeepSeek-V3: 8 copies over 4 of 8 nodes hit 4*(1 - (3/4)^8) = 3.6 of them, over all 8 nodes 5.25
    step = build_step(load_model("deepseek-v3"), train_config({"num_devices": 64, "ep": 64}))
    op = next(op for op in step.ops if op.name == "moe.dispatch")
    assert (op.copies, op.spread) == (8, 0.5)
    assert 8 * share_sent(8 * op.spread, 8) == pytest.approx(3.6, abs=0.01)
    assert 8 * share_sent(8, 8) == pytest.approx(5.25, abs=0.01)


@pytest.mark.parametrize(("dispatcher", "inside", "between"), [("deepep", 32, 4), ("alltoall", None, None)])
def test_what_a_dispatcher_sends_once(dispatcher, inside, between):
    # 8 copies over half of 64 ranks and of 8 nodes
    options = {"num_devices": 64, "ep": 64, "dispatcher": dispatcher}
    step = build_step(load_model("deepseek-v3"), train_config(options))
    ops = {op.name: op for op in step.ops if op.kind == "collective"}
    found = sharing_of(step, ops.pop("moe.dispatch"), Ranks(64, 8, 8))
    assert found.inside == (1 if inside is None else inside * (1 - (1 - 1 / inside) ** 8) / 8)
    assert found.between == (1 if between is None else between * (1 - (1 - 1 / between) ** 8) / 8)
    others = {name for name, op in ops.items() if sharing_of(step, op, Ranks(64, 8, 8)) is ALONE}
    assert others == {name for name in ops if not name.startswith(("moe.dispatch", "moe.combine"))}
    assert sharing_of(step, msgspec.structs.replace(ops["moe.combine"], copies=1), Ranks(64, 8, 8)) is ALONE


def test_only_what_leaves_the_node_goes_over_a_network():
    def assumed(**options):
        return assumes_network(resolve(train_config(options), LLAMA), H100)

    assert [assumed(num_devices=devices) for devices in (8, 16)] == [False, True]
    assert not assumed(num_devices=16, network_gbit_per_s=400)
    assert not assumes_network(resolve(train_config({"num_devices": 512}), LLAMA), load_device("tpu-v4"))


def timed(items):
    """Ops with their seconds."""
    return [(item.op, item.ideal, item.expected) for item in items]


def test_another_network_times_what_crosses_nodes_anew():
    slow, fast = (
        build_step(LLAMA, train_config({"seq_len": 1024, "num_devices": 16, "tp": 2, "network_gbit_per_s": gbit}))
        for gbit in (100, 400)
    )
    before = price(slow, H100)
    found = with_network_of(fast, H100, before)
    assert timed(found) == timed(price(fast, H100)) != timed(before)
    assert {new.op.group for new, old in zip(found, before, strict=True) if new is not old} == {"dp"}


def test_one_rank_sends_nothing():
    assert all(item.expected == item.ideal == 0 for item in priced() if item.op.kind == "collective")


def test_ranks_of_an_array_send_what_each_number_of_them_sends():
    """One sends nothing and needs no link; of two each sends a payload in all (2 x 1/2), at NVLink's 450 GB/s."""
    sizes = np.array([1.0, 2.0])
    together = [
        item for item in priced(tp=sizes, num_devices=sizes) if item.op.kind == "collective" and item.op.group == "tp"
    ]
    assert together
    for item in together:
        assert np.broadcast_to(item.ideal, 2)[0] == 0
    pair = next(
        item for item in priced(tp=2, num_devices=2) if item.op.collective == "all_reduce" and item.op.group == "tp"
    )
    assert pair.ideal == pytest.approx(pair.op.bytes_sent / 450e9)
    alone = next(item for item in together if item.op.name == pair.op.name)
    assert alone.ideal[1] == pytest.approx(pair.ideal)
    sockets = load_device("epyc-9654")  # no figure for a link
    alone = [item for item in priced(device=sockets, dtype="fp32") if item.op.kind == "collective"]
    assert [item.ideal for item in alone] == [0]


@pytest.mark.parametrize(("balance", "factor"), [("natural", 1.25), ("forced", 1), ("dropped", 1), (1.5, 1.5)])
def test_the_fullest_expert_rank_sets_the_pace(balance, factor):
    from roofline.timing.kernel import expected_time

    (up,) = [item for item in priced(MIXTRAL, expert_balance=balance) if item.op.name == "experts.up"]
    sustained = H100.measured.sustained.compute
    assert up.expected == pytest.approx(expected_time(up.op, H100) / sustained * factor)


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
        next(item.ideal for item in priced(MIXTRAL, **options, dispatcher=how) if item.op.name == "moe.dispatch")
        for how in ("deepep", "alltoall")
    )
    assert once == pytest.approx(0.75 * each)  # two experts a token, two nodes: 3/4 of the copies cross


def test_ranks_that_share_an_expert_lie_together():
    # tp 8: experts over 4 groups of 2 ranks; 4 groups in a node of 8, 32/(4*2) = 4 ranks hold the same experts
    options = {"num_devices": 32, "tp": 8, "ep": 4, "etp": 2, "sequence_parallel": True}
    found = groups(model=MIXTRAL, **options)
    assert (found["etp"], found["ep"], found["expert_dp"]) == ((2, 2), (4, 4), (4, 1))
    assert groups(model=MIXTRAL, num_devices=8, tp=8, etp=8, sequence_parallel=True)["etp"] == (8, 8)


@pytest.mark.parametrize(
    ("device_id", "domain", "link"),
    [
        ("h100-sxm-80gb", 8, 8),
        ("gb200", 72, 72),
        ("l40s", 8, 8),  # PCIe alone joins them
        ("h100-nvl-94gb", 8, 2),  # bridged pairs in a PCIe box
        ("mi100", 8, 4),
    ],
)
def test_a_domain_may_hold_groups_of_a_faster_link(device_id, domain, link):
    train, device = train_config({"num_devices": 64}), load_device(device_id)
    assert (domain_size(train, device), link_size(train, device)) == (domain, link)


def test_ranks_that_are_apart_do_not_share_a_bridge():
    train = resolve(train_config({"num_devices": 8, "tp": 2, "global_batch": 8}), LLAMA)
    found = {name: ranks_of(name, train, load_device("h100-nvl-94gb")) for name in ("tp", "dp")}
    assert (found["tp"].per_domain, found["tp"].per_link) == (2, 2)
    assert (found["dp"].per_domain, found["dp"].per_link) == (4, 1)  # each in another pair


@pytest.mark.parametrize("model", [LLAMA, MIXTRAL])
def test_work_that_is_kept_otherwise_or_run_again_is_timed_once(model, monkeypatch):
    words = ({}, {"recompute": "selective"}, {"recompute": "full"})
    options = {"seq_len": 1024, "tp": 2, "attention": "unfused"}
    steps = without_updates(model, [resolve(train_config({**options, **each}), model) for each in words])
    alone = [timed(price(step, H100)) for step in steps]
    times, worked = kernel.expected_time, []
    monkeypatch.setattr(
        kernel, "expected_time", lambda op, *of, **how: (worked.append(op.name), times(op, *of, **how))[1]
    )
    assert [timed(each) for each in price_all(steps, H100)] == alone
    assert len(worked) == len([op for op in steps[0].ops if op.kind != "collective"])


def test_matmuls_scaled_by_rows_run_below_the_rate_of_those_scaled_by_tensors():
    def seconds(recipe):
        items = priced(device=H100, dtype="fp8", stack="torchtitan", low_precision_recipe=recipe)
        return sum(i.expected for i in items if i.op.name == "mlp.down")

    assert seconds("rowwise") == pytest.approx(seconds("current") / recipes()["rowwise"].rate)
    assert recipes()["rowwise"].rate < 1


def test_long_runs_are_slower_in_16_bits_where_these_draw_more_power():
    def lasting(dtype):
        (item,) = (i for i in priced(device=GB200, dtype=dtype, stack="nemo") if i.op.name == "mlp.down")
        return kernel.expected_time(item.op, GB200, attention="te") / item.expected

    sustained = GB200.measured.sustained
    assert lasting("bf16") == pytest.approx(sustained.rate("bf16")) == pytest.approx(sustained.compute_16bit)
    assert lasting("fp8") == pytest.approx(sustained.rate("fp8")) == pytest.approx(sustained.compute)
    assert H100.measured.sustained.rate("bf16") == H100.measured.sustained.compute


@pytest.mark.parametrize(
    ("device_id", "devices", "through_host"),
    [("h100-sxm-80gb", 8, False), ("l40s", 1, False), ("l40s", 2, True), ("h100-nvl-94gb", 2, False),
     ("h100-nvl-94gb", 4, True), ("epyc-9654", 2, False)],
)  # fmt: skip
def test_cards_without_a_link_of_their_own_talk_through_the_host(device_id, devices, through_host):
    train = resolve(train_config({"num_devices": devices}), LLAMA)
    assert uses_host(train, load_device(device_id)) is through_host


def test_replicas_of_hybrid_sharding_are_a_node_apart():
    train = resolve(train_config({"num_devices": 64, "sharding": "hsdp", "global_batch": 64}), LLAMA)
    assert ranks_of("shard", train, H100) == Ranks(8, 8, 8)
    assert ranks_of("replica", train, H100) == Ranks(8, 1, 1)


def test_replicas_of_the_size_that_is_said_lie_side_by_side():
    words = {"num_devices": 128, "sharding": "hsdp", "dp_shard": 16, "tp": 2, "global_batch": 64}
    train = resolve(train_config(words), LLAMA)
    assert ranks_of("shard", train, GB200) == Ranks(16, 16, 16)  # on 32 of a rack's 72 devices
    assert ranks_of("replica", train, GB200) == Ranks(4, 2, 2)
    spread = resolve(train_config({**words, "dp_shard": 32}), LLAMA)
    assert ranks_of("shard", spread, H100) == Ranks(32, 4, 4)
    assert ranks_of("replica", spread, H100) == Ranks(2, 1, 1)


@pytest.mark.parametrize(("tp", "joined"), [(1, 2), (2, 1)])
def test_stages_share_a_bridge_only_where_both_fit(tp, joined):
    train = resolve(train_config({"num_devices": 2 * tp, "tp": tp, "pp": 2, "global_batch": 8}), LLAMA)
    assert ranks_of("pp", train, load_device("h100-nvl-94gb")) == Ranks(2, 2, joined)
