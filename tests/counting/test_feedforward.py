"""Feed-forward kernels of a step, by hand. T tokens, D d_model, F d_ff."""

from __future__ import annotations

from typing import Any

from roofline.config.settle import train_config
from roofline.counting.op import Op
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat

D, F, T, LAYERS = 24, 36, 2 * 16, 3
FLAT = {
    "name": "small", "n_layers": LAYERS, "d_model": D, "n_heads": 4, "d_ff": F, "vocab_size": 64, "max_seq_len": 64,
    "gated_mlp": True,
}  # fmt: skip


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
