"""What the allocator holds beyond what is alive, and what stands beside it."""

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import astuple, replace

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.footprint import allocator
from roofline.footprint.activations import logit_blocks, logits_bytes
from roofline.footprint.allocator import (
    CONTEXT_BYTES,
    CUT,
    FIRST,
    FULL,
    KERNEL_BYTES,
    NCCL_BYTES,
    WORKING,
    Moments,
    beside_bytes,
    driver_bytes,
    moments_of,
    needed_bytes,
    reserved_bytes,
)
from roofline.footprint.blocks import forward_bytes
from roofline.footprint.parts import memory_for
from roofline.footprint.phases import Name, Phase
from roofline.model.load import load_model

from ..small import small


def step(*, num_devices: int = 1, pp: int = 1, adapts: bool = False, sharded: bool = False, **stack: bool) -> Any:
    no = ("static_memory", "expandable_segments", "keeps_gradients", "loads_all_kernels")
    options = {"fused": (), **dict.fromkeys(no, False), **stack}
    train = SimpleNamespace(num_devices=num_devices, pp=pp, adapts=adapts, data_parallel=num_devices // pp)
    train.base_dtype, train.reduces_every_pass = None, sharded
    return SimpleNamespace(stack=SimpleNamespace(**options), train=train)


LAST = SimpleNamespace(head=1)


def moment(name: Name, **held: float) -> Phase[float]:
    nothing = dict.fromkeys(("weights", "gradients", "optimizer", "activations", "logits", "communication"), 0.0)
    return Phase(name=name, **{**nothing, **held})


def moments(gradients: float, temporaries: float) -> list[Phase[float]]:
    """100 bytes are kept, logits are 60, a layer's working set 40; an update has its gradients and temporaries."""
    return [
        moment("loss", weights=20, activations=100, logits=60, optimizer=30),
        moment("backward starts", weights=20, activations=140, optimizer=30),
        moment("backward ends", weights=20, activations=40, gradients=gradients, optimizer=30),
        moment("update", weights=20, gradients=gradients, optimizer=30 + temporaries),
    ]


def test_parts_of_segments_are_lost_where_backward_works():
    found = moments_of(step(adapts=True), moments(50, 20))
    assert astuple(found) == pytest.approx((210, 190 + WORKING * 40, 140 + WORKING * 40, 120, 0))


def test_blocks_that_are_cut_for_longer_than_a_layer():
    assert moments_of(step(), moments(50, 20)).cut == pytest.approx(CUT * 30)  # by the state, which is less than 160
    assert moments_of(step(keeps_gradients=True), moments(50, 20)).cut == 0  # nobody to reduce with
    assert moments_of(step(num_devices=2, keeps_gradients=True, sharded=True), moments(50, 20)).cut == 0  # by buckets
    buffers = step(num_devices=2, keeps_gradients=True)
    assert moments_of(buffers, moments(50, 20)).cut == pytest.approx(CUT * 50)
    assert moments_of(buffers, moments(50, 20)).fullest() == pytest.approx(210 + CUT * 50)
    assert needed_bytes(buffers, moments(50, 20)) == pytest.approx(210 + FULL * CUT * 50 + CONTEXT_BYTES + NCCL_BYTES)
    pipeline = step(num_devices=2, pp=2, keeps_gradients=True)
    assert moments_of(pipeline, moments(50, 20)).cut == pytest.approx(CUT * (50 + 100))  # and what is in flight
    pipeline.stack.fused = {"wgrad_accumulation"}  # between which no gradient of a weight is made
    assert moments_of(pipeline, moments(50, 20)).cut == pytest.approx(CUT * 50)


@pytest.mark.parametrize("loses", ["static_memory", "expandable_segments"])
def test_what_loses_nothing(loses):
    assert moments_of(step(**{loses: True}), moments(50, 20)) == Moments(210, 190, 140, 120)
    assert reserved_bytes(step(**{loses: True}), LAST, moments(50, 20)) == 210


@pytest.fixture
def blocks(monkeypatch):
    """Logits of 25 bytes more in blocks, and 15 of a layer's forward pass."""
    monkeypatch.setattr(allocator, "logit_blocks", lambda _: 25)
    monkeypatch.setattr(allocator, "forward_bytes", lambda _: 15)


def test_blocks_that_others_do_not_take_stand_beside_the_loss(blocks):
    assert reserved_bytes(step(adapts=True), LAST, moments(0, 0)) == 210 + 25 + 15
    assert reserved_bytes(step(adapts=True), SimpleNamespace(head=0), moments(0, 0)) == 210 + 15


@pytest.mark.parametrize("how", ["adapts", "keeps_gradients"])
def test_state_of_adapters_and_beside_buffers_lies_in_no_block_of_activations(blocks, how):
    assert reserved_bytes(step(**{how: True}), LAST, moments(200, 100)) == 20 + 200 + 130  # the update alone


def test_state_lies_in_blocks_of_activations_from_the_first_update_on(blocks):
    # 100 kept, 15 of the forward pass, 85 of logits beside 20 of weights; of the 200, gradients hold 25
    assert reserved_bytes(step(), LAST, moments(50, 20)) == pytest.approx(20 + 200 + 30 + FULL * CUT * 30)
    # an update of more than that has blocks of its own
    assert reserved_bytes(step(), LAST, moments(100, 150)) == 300 + 30
    # where gradients come from a stream of their own, they stand beside the 200
    assert reserved_bytes(step(num_devices=2), LAST, moments(50, 20)) == 20 + 50 + 200 + 30
    # so do gathered parameters, from a third: an update of 280 takes the blocks of neither
    loss, start, *later = moments(100, 250)
    gathering = [loss, replace(start, communication=7), *later]
    assert reserved_bytes(step(num_devices=2), LAST, gathering) == 20 + (100 + 7) + (30 + 250) + 30


@pytest.mark.parametrize(
    ("devices", "gradients", "temporaries", "reserved"),
    [
        (1, 200, 0, (20 + 200 + 120) + (200 - FIRST * 200)),  # the 200 that passed have room for less than the state
        (1, 1000, 200, (20 + 1000 + 320) + FULL * CUT * 120),  # and none for any: all lies where the update did
        (2, 200, 0, 20 + 200 + 200 + 120),  # gradients lie elsewhere
    ],
)
def test_state_finds_no_more_room_than_gradients_leave(blocks, devices, gradients, temporaries, reserved):
    held = [replace(phase, optimizer=phase.optimizer + 90) for phase in moments(gradients, temporaries)]
    assert reserved_bytes(step(num_devices=devices), LAST, held) == pytest.approx(reserved)


def loss_of(name="llama-3.2-1b", **options):
    model = load_model(name)
    step = build_step(model, train_config({"seq_len": 128, **options}))
    logits = 128 * model.vocab_size
    kept = 128 * model.d_model * 2  # the head's input and the norm's statistics, less than one byte of a logit
    return round((logits_bytes(step) - kept) / logits), logit_blocks(step) / logits


@pytest.mark.parametrize(
    ("options", "live", "more"),
    [
        ({"stack": "eager"}, 10, 4),  # three blocks in fp32, one in 16 bits
        ({"stack": "eager", "dtype": "fp32"}, 12, 0),  # of one size
        ({"stack": "eager", "master_weights": False}, 6, 0),
        ({"stack": "eager", "dtype": "fp16"}, 10, 0),  # log_softmax reads fp16: two in fp32, one in 16 bits
        ({"stack": "hf-trainer@4.48"}, 14, 0),  # three in fp32, the logits
        ({"stack": "hf-trainer@4.45"}, 12, 4),  # two in 16 bits: the logits are freed before
        ({"stack": "hf-trainer@4.45", "fused": "cross_entropy"}, 8, 4),  # two in fp32, two in 16 bits
        ({"stack": "hf-trainer@4.48", "fused": "cross_entropy"}, 10, 2),
        ({"stack": "automodel", "fused": "cross_entropy"}, 6, 2),  # one in fp32, two in 16 bits
        ({"stack": "eager", "fused": "cross_entropy"}, 2, 0),  # the gradient takes the place of the logits
        ({"stack": "eager", "fused": "linear_cross_entropy"}, 0, 0),
        ({"stack": "eager", "tp": 2, "num_devices": 2}, 10 / 2, 4 / 2),
        ({"stack": "parallel", "tp": 2, "num_devices": 2}, 12, 2),  # gathered: three in fp32, the logits
        # three in fp32 (autocast's copy), two in 16 bits: logits and shifted ones
        ({"stack": "hf-trainer@4.48", "name": "gpt2"}, 12, 4),
        # in fp32 there is nothing to upcast: logits, shifted ones and log-probabilities, and as many in backward
        ({"stack": "hf-trainer@4.48", "name": "gpt2", "dtype": "fp32"}, 12, 0),
        ({"stack": "hf-trainer@4.48", "dtype": "fp32"}, 12, 0),
        ({"stack": "hf-trainer@4.48", "dtype": "fp32", "fused": "cross_entropy"}, 8, 0),
        ({"stack": "hf-trainer@4.45", "dtype": "fp32", "fused": "cross_entropy"}, 8, 0),
        ({"stack": "hf-trainer", "dtype": "fp32", "fused": "cross_entropy"}, 4, 0),
    ],
)
def test_blocks_of_the_loss(options, live, more):
    assert loss_of(**options) == (live, pytest.approx(more))


def test_what_has_no_head_has_no_logits():
    model = small(n_layers=2, d_model=64, n_heads=4, d_ff=256, vocab_size=512)
    built = build_step(model, train_config({"seq_len": 32}))
    headless = replace(built, ops=tuple(op for op in built.ops if op.part != "head"))
    assert logits_bytes(headless) == logit_blocks(headless) == 0


def test_what_a_forward_pass_frees():
    model = small(n_layers=2, d_model=64, n_heads=4, n_kv_heads=4, d_ff=256, vocab_size=512)
    options = {"stack": "eager", "seq_len": 128, "micro_batch": 2, "attention": "flash2", "recompute": "full"}
    inner, stream = 2 * 128 * 256 * 2, 2 * 128 * 64 * 2
    # both halves of the feed-forward block and their product; of the rest, queries, keys and values beside half of the
    # nine tensors that turning them makes
    found = forward_bytes(build_step(model, train_config({**options, "master_weights": False})))
    assert found == pytest.approx(3 * inner + (3 + 9 / 2) * stream)
    kept = forward_bytes(build_step(model, train_config({**options, "master_weights": False, "recompute": "none"})))
    assert kept == found - 4 * stream  # queries, keys, values and the input of the output's projection are kept


def test_some_sequence_is_as_long_as_the_longest():
    model = small(n_layers=2, d_model=64, n_heads=4, n_kv_heads=4, d_ff=256, vocab_size=512)
    options = {"stack": "eager", "seq_len": 128, "micro_batch": 2, "attention": "flash2", "recompute": "full"}
    whole, mixed = (
        build_step(model, train_config({**options, **lengths}))
        for lengths in ({}, {"mean_len": 32, "packing": "unpadded"})
    )
    for figure in (forward_bytes, logits_bytes, logit_blocks):
        assert figure(mixed) == pytest.approx(figure(whole))


def test_ranks_that_make_a_base_whole_keep_its_blocks():
    model = load_model("llama-3.2-1b")
    options = {"seq_len": 128, "num_devices": 4, "sharding": "fsdp", "train": "qlora", "stack": "hf-trainer"}
    found = {}
    for base in ("gptq", "awq"):
        built = build_step(model, train_config({**options, "base_dtype": base}))
        memory = memory_for(built, 0)
        found[base] = memory.driver_bytes, memory.phases[0].weights
    assert found["gptq"][0] - found["awq"][0] == pytest.approx(3 * found["gptq"][1], rel=0.02)


def test_communicators_take_memory_where_there_is_someone_to_talk_to():
    assert beside_bytes(step()) == CONTEXT_BYTES
    assert beside_bytes(step(num_devices=2)) == CONTEXT_BYTES + NCCL_BYTES
    assert beside_bytes(step(loads_all_kernels=True)) == CONTEXT_BYTES + KERNEL_BYTES


@pytest.mark.parametrize(
    ("capacity", "shown"),
    [
        (200, 182),  # all that is lost stays
        (182, 182),  # and fills it
        (170, (140 + 170) / 2),  # between what it cannot do without and all there is
        (100, 140),  # what it cannot do without is more: of whole segments nothing
        (0, 182),  # no device
    ],
)
def test_a_full_device_gives_back_what_is_lost(capacity, shown):
    assert driver_bytes(140, 182, capacity) == pytest.approx(shown)
