"""Feed-forward kernels of a step, by hand. T tokens, D d_model, F d_ff."""

from typing import Any

import pytest

from roofline.config.settle import train_config
from roofline.counting.op import Op
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat

from ..small import flat
from .tiny import EXPERTS, op_of

D, F, T, LAYERS = 24, 36, 2 * 16, 3
FLAT = flat(n_layers=LAYERS, d_model=D, n_heads=4, d_ff=F, vocab_size=64)


def ops(flat: dict[str, Any], **options: Any) -> list[Op]:
    step = build_step(
        model_from_flat(flat), train_config({"stack": "compiled", "micro_batch": 2, "seq_len": 16, **options})
    )
    return list(step.ops)


def matmuls(found: list[Op], start: str, phase: str = "forward") -> float:
    return float(
        sum(o.flops * o.count for o in found if o.name.startswith(start) and o.phase == phase and o.kind == "matmul")
    )


def test_a_gated_layer_has_three_products_and_a_plain_one_two() -> None:
    assert matmuls(ops(FLAT), "mlp.") == LAYERS * 3 * 2 * T * D * F
    assert matmuls(ops({**FLAT, "gated_mlp": False}), "mlp.") == LAYERS * 2 * 2 * T * D * F


def test_tensor_parallelism_divides_them() -> None:
    assert matmuls(ops(FLAT, tp=2, num_devices=2), "mlp.") == LAYERS * 3 * 2 * T * D * F / 2


def test_each_token_passes_through_its_experts_wherever_they_are() -> None:
    experts = {**FLAT, "n_experts": 8, "experts_per_token": 2}
    found = ops(experts)
    assert matmuls(found, "experts.") == LAYERS * 2 * 3 * 2 * T * D * F
    assert matmuls(found, "router") == LAYERS * 2 * T * D * 8
    spread = ops(experts, ep=4, num_devices=4, dp=4)
    assert matmuls(spread, "experts.") == matmuls(found, "experts.")
    (dispatch,) = [o for o in spread if o.name == "moe.dispatch"]
    assert (dispatch.collective, dispatch.bytes_sent, dispatch.copies) == ("all_to_all", 2 * T * D * 2, 2)
    assert not [o for o in found if o.collective == "all_to_all"]


def test_experts_run_the_rows_routed_to_them():
    # 10 tokens to 2 of 4 experts: 20 rows, 5 per expert; gate and up [6, 16], down [8, 6]
    assert op_of("router", EXPERTS).flops == 2 * 10 * 6 * 4
    up, down = op_of("experts.up", EXPERTS, stack="eager"), op_of("experts.down", EXPERTS, stack="eager")
    assert (up.shape, down.shape) == ((5, 16, 6, 4), (5, 6, 8, 4))
    assert (up.flops, down.flops) == (2 * 20 * 6 * 16, 2 * 20 * 8 * 6)
    parallel = op_of("experts.up", EXPERTS, ep=2, num_devices=2, dp=2, stack="eager")
    assert parallel.shape == (10, 16, 6, 2)  # half the experts, tokens of both ranks
    dispatch = op_of("moe.dispatch", EXPERTS, ep=2, num_devices=2, dp=2)
    assert (dispatch.bytes_sent, dispatch.copies) == (20 * 6 * 2, 2)


def test_an_expert_that_ranks_share_gathers_the_tokens_of_all():
    # 64 tokens over tp 4: 16 rows each, to 2 of 4 experts on ep 2 = 2 here: 16 rows an expert
    options = {
        "stack": "megatron",
        "micro_batch": 2,
        "seq_len": 32,
        "tp": 4,
        "num_devices": 4,
        "sequence_parallel": True,
    }
    flat = {**EXPERTS, "n_heads": 4, "n_kv_heads": 4, "d_model": 8}
    whole = op_of("experts.up", flat, ep=2, **options)
    shared = op_of("experts.up", flat, ep=2, etp=2, **options)
    assert whole.shape == (16, 16, 8, 2)  # gate and up of width 8
    assert shared.shape == (32, 8, 8, 2)  # twice the rows, half the width
    gathered = op_of("moe.dispatch_all_gather", flat, ep=2, etp=2, **options)
    assert gathered.bytes_sent == 2 * 16 * 2 * 8 * 2  # 2 ranks x 16 tokens x 2 experts x 8 wide x 2 bytes
    # the same where each rank has tokens of its own because tp is 1: 64 tokens to 2 of 4 experts, from 2 ranks
    alone = {**options, "tp": 1, "dp": 4, "sequence_parallel": False}
    assert op_of("experts.up", flat, ep=2, etp=2, **alone).shape == (128, 8, 8, 2)
    assert op_of("moe.dispatch_all_gather", flat, ep=2, etp=2, **alone).bytes_sent == 2 * 64 * 2 * 8 * 2
    # and not where tp ranks have the same tokens
    same = {**options, "sequence_parallel": False, "etp": 4, "ep": 1}
    assert op_of("experts.up", flat, **same).shape == (32, 4, 8, 4)


@pytest.mark.parametrize(
    ("activation", "tensors"),  # of the width inside, each as torch keeps it of the code of transformers
    [("gelu", 1), ("relu", 0), ("relu2", 1), ("quick_gelu", 2), ("gelu_new", 4), ("xielu", 4.5), ("gelu_fast", 7)],
)
def test_an_activation_keeps_what_its_operations_read_again(activation: str, tensors: float) -> None:
    flat = {**FLAT, "gated_mlp": False, "activation": activation}
    (op,) = [op for op in ops(flat, stack="eager", master_weights=False) if op.name == "mlp.activation"]
    assert op.saved_bytes == tensors * T * F * 2
    (fused,) = [op for op in ops(flat) if op.name == "mlp.activation"]
    assert fused.saved_bytes == (activation != "relu") * T * F * 2  # of a relu the projection behind it keeps all


def test_parallel_blocks_of_one_norm_keep_one_input() -> None:
    def kept(norms: int) -> float:
        flat = {**FLAT, "parallel_block": True, "norms_per_layer": norms, "norm": "layer"}
        return float(sum(op.saved_bytes * op.count for op in ops(flat, stack="eager") if op.name == "mlp.up"))

    assert kept(1) == 0
    assert kept(2) == LAYERS * T * D * 2
