"""What an expert layer runs beside its matmuls: sorting, biases, clamped activations, one kernel for all experts."""

import pytest

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat

from ..small import flat

# 8 tokens of width 24, 2 experts of 4 each: 16 rows, 36 wide inside
FLAT = flat(n_layers=1, d_model=24, n_heads=6, d_ff=36, vocab_size=70, max_seq_len=8, n_experts=4, experts_per_token=2)
MODEL = model_from_flat(FLAT)
BIASED = model_from_flat({**FLAT, "expert_bias": True, "activation": "swiglu_clamped"})
ROWS = 8 * 2


def ops_of(model=MODEL, **options):
    step = build_step(model, train_config({"stack": "nemo", "seq_len": 8, "num_devices": 2, "ep": 2, **options}))
    return {(op.name, op.phase): op for op in step.ops}


def moved(op):
    """Elements of 16 bits that an op reads and writes."""
    return op.bytes_read / 2, op.bytes_written / 2


def test_an_all_to_all_leaves_rows_in_the_order_of_ranks():
    ops = ops_of(dispatcher="alltoall")
    for name in ("moe.sort", "moe.unsort"):
        assert moved(ops[name, "forward"]) == moved(ops[f"{name}.backward", "backward"]) == (ROWS * 24, ROWS * 24)
        assert ops[name, "forward"].routed


@pytest.mark.parametrize(
    "options",
    [
        {"dispatcher": "deepep"},
        {"dispatcher": "alltoall", "ep": 4, "num_devices": 4},
        {"dispatcher": "alltoall", "ep": 1},
    ],
)
def test_rows_of_one_expert_a_rank_or_of_deepep_need_no_sorting(options):
    assert ("moe.sort", "forward") not in ops_of(**options)


def test_outputs_of_experts_are_kept_where_they_are_what_a_weight_multiplies():
    after, before = (ops_of(stack=stack)["moe.unpermute", "forward"] for stack in ("nemo", "nemo@25.04"))
    assert (after.saved_bytes, before.saved_bytes) == (0, 2 * ROWS * 24)
    back = [ops_of(stack=stack)["moe.unpermute.backward", "backward"] for stack in ("nemo", "nemo@25.04")]
    # the gradient of each token, spread over its rows; and, where weights are of the outputs, those
    assert [moved(op) for op in back] == [(8 * 24, ROWS * 24), (8 * 24 + ROWS * 24, ROWS * 24)]


def test_biases_are_added_expert_by_expert():
    ops = ops_of(BIASED)
    forward, backward = ops["experts.bias", "forward"], ops["experts.bias.backward", "backward"]
    # in 16-bit elements: p * b (written in fp32: 2), + y (3 read, 2 written), joined (2, 2), cast (2, 1)
    assert moved(forward) == (7 * ROWS * 24, 7 * ROWS * 24)
    # dy cast (1, 2) and back for y (2, 1), split (1, 1), p * dy and b * dy (2, 2 each), the latter summed (2)
    assert moved(backward) == (10 * ROWS * 24, 8 * ROWS * 24)
    assert (forward.kernels, backward.kernels) == (2 * 2, 2 * 5)  # two experts here
    assert ("experts.bias", "forward") not in ops_of()
    assert ("experts.bias", "forward") not in ops_of(BIASED, fused=("expert_bias",))


def test_clamps_are_kernels_of_their_own():
    within = {name: ops_of(BIASED, **options) for name, options in (("beside", {}), ("eager", {"stack": "eager"}))}
    fused = ops_of(BIASED, fused=("clamped_activation",))
    # two clamps (1, 1 each), joined (2, 2), then gate and up read for their product
    assert moved(within["beside"]["experts.activation", "forward"]) == (6 * ROWS * 36, 5 * ROWS * 36)
    assert moved(fused["experts.activation", "forward"]) == (2 * ROWS * 36, ROWS * 36)
    assert within["eager"]["experts.activation", "forward"].kernels == 8


def test_a_graph_of_the_iteration_has_one_kernel_for_all_experts():
    graph = {"dtype": "fp8", "cuda_graph": "full"}
    now, before, partial = (
        ops_of(**graph),
        ops_of(**graph, stack="nemo@26.04"),
        ops_of(dtype="fp8", cuda_graph="partial"),
    )
    # the product's quantised copies are written by the matmul before it, those of its gradient by the one after
    gone = {("experts.down.cast", "forward"), ("experts.up.cast", "backward")}
    assert set(before) - set(now) == set(partial) - set(now) == gone
    assert before["experts.up", "forward"].kernels == 2
    assert now["experts.up", "forward"].kernels == 1
    activation = now["experts.activation", "forward"]
    assert (activation.bytes_read, activation.bytes_written) == (0, 2 * ROWS * 36)  # 8 bits, rows and columns
    assert ("experts.bias", "forward") not in ops_of(BIASED, **graph)


def test_a_loop_over_experts_launches_all_of_each():
    # transformers 4: where, look-up | gate and up, down, a cast of either's weight, silu, product | weight looked up,
    # product, cast, sum; of 4 experts; autocast casts what either matmul reads
    alone = {"stack": "hf-trainer@4.57", "num_devices": 1, "ep": 1}
    looped, grouped = (ops_of(**{**alone, "stack": stack}) for stack in ("hf-trainer@4.57", "hf-trainer"))
    names = [key for key in looped if key[0].startswith(("moe.", "experts.")) and key[1] == "forward"]
    assert sum(looped[key].kernels for key in names) == 4 * (2 + 2 + 1 + 2 + 2 + 4)
    assert sum(grouped[key].kernels for key in names if key in grouped) == 1 + 2 + 2 + 2 + 4
    # each expert hands back a gradient of all 8 tokens: zeros, and the sum with what is there
    gradient = looped["moe.sum.backward", "backward"]
    assert (moved(gradient), gradient.kernels) == ((2 * 4 * 8 * 24, 2 * 4 * 8 * 24), 2 * 4)
    assert not [op for op in grouped.values() if op.name.startswith("moe.sum")]


def test_biases_of_a_loop_are_added_once_for_each_expert():
    ops = ops_of(BIASED, stack="hf-trainer@4.57", num_devices=1, ep=1)
    assert ops["experts.bias", "forward"].kernels == 4 * 2
