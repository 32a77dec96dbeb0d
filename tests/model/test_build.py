"""From flat keys to layers: groups of equal layers, style, and layers that predict further ahead."""

from typing import Any

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.mfu import matmul_weights
from roofline.counting.step import build_ops
from roofline.errors import RooflineError
from roofline.model.load import model_from_flat
from roofline.model.parameters import count_parameters
from roofline.model.spec import ModelConfig

TINY: dict[str, Any] = {
    "n_layers": 4,
    "d_model": 8,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_ff": 20,
    "vocab_size": 11,
    "gated_mlp": True,
    "max_seq_len": 16,
}
LAYER = 8 * 8 * 2 + 2 * 8 * 4 + 3 * 8 * 20  # q and out, k and v, gate, up and down


def forward_matmuls(model: ModelConfig) -> float:
    train = TrainConfig(micro_batch=1, seq_len=16, attention="unfused", stack="eager", dtype="fp32")
    ops = [op for op in build_ops(model, train) if op.kind == "matmul" and op.phase == "forward"]
    return sum(op.flops * op.count for op in ops)


def test_equal_layers_are_one_group_and_the_others_their_own() -> None:
    model = model_from_flat({**TINY, "variations": [{"layers": "i % 2 == 1", "window": 4}]})
    windows = [(group.count, group.attention.window) for group in model.groups if group.attention]
    assert windows == [(2, None), (2, 4)]


def test_a_variation_that_changes_nothing_makes_no_group() -> None:
    assert len(model_from_flat({**TINY, "variations": [{"layers": [1], "d_ff": 20}]}).groups) == 1


def test_layers_ahead_are_made_like_the_last() -> None:
    model = model_from_flat({**TINY, "mtp_layers": 2, "variations": [{"layers": [3], "d_ff": 30}]})
    last = model.groups[-1]
    assert (last.count, last.ahead, model.heads_ahead) == (2, True, 2)
    assert last.mlp is not None
    assert last.mlp.d_ff == 30
    assert [linear.name for linear in last.linears] == ["ahead.project"]


def test_a_layer_ahead_projects_every_copy_of_the_residual_stream() -> None:
    model = model_from_flat({**TINY, "mtp_layers": 1, "residual_streams": 4})
    assert [(each.name, each.d_in, each.runs) for each in model.groups[-1].linears] == [
        ("ahead.embedding", 8, 1),
        ("ahead.hidden", 8, 4),
    ]


def test_layers_ahead_may_be_made_like_others_one_behind_the_other() -> None:
    model = model_from_flat({**TINY, "mtp_layers": 1, "mtp_like": [0, 3], "variations": [{"layers": [3], "d_ff": 30}]})
    ahead = [group for group in model.groups if group.ahead]
    assert [(len(group.norms), len(group.linears)) for group in ahead] == [(4, 1), (3, 0)]


def test_a_layer_ahead_costs_a_layer_a_projection_and_a_pass_of_the_head() -> None:
    plain, ahead = (model_from_flat({**TINY, "mtp_layers": n}) for n in (0, 1))
    tokens = 16
    scores = 2 * 2 * 16 * 16 * 4 * 2  # two batched matmuls of [16, 2] and [2, 16] for four heads
    more = 2 * tokens * (LAYER + 2 * 8 * 8 + 8 * 11) + scores
    assert forward_matmuls(ahead) - forward_matmuls(plain) == more
    assert matmul_weights(ahead) - matmul_weights(plain) == LAYER + 2 * 8 * 8 + 8 * 11
    assert count_parameters(ahead).total - count_parameters(plain).total == LAYER + 2 * 8 * 8 + (2 + 3) * 8


def test_what_generates_has_no_layers_ahead() -> None:
    assert model_from_flat({**TINY, "mtp_layers": 1}).without_ahead() == model_from_flat({**TINY, "mtp_layers": 0})


def test_a_key_of_the_whole_model_cannot_vary() -> None:
    with pytest.raises(RooflineError, match="vocab_size belongs to the whole model"):
        model_from_flat({**TINY, "variations": [{"layers": [1], "vocab_size": 3}]})
