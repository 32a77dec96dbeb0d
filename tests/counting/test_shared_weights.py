"""Layers that share one set of weights, and attention that reads the embedding beside the hidden state."""

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.count import MATMULS
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.model.load import model_from_flat
from roofline.model.parameters import count_parameters

from .tiny import TINY, op_of, step_of

SHARED = {**TINY, "variations": [{"layers": [1, 2], "shares_weights": True}]}
LAYER = 2 * 6 * 6 + 2 * 6 * 2 + 3 * 6 * 8 + 2 * 6  # q and out, k and v; gate, up and down; two norms
TABLES = 2 * 11 * 6 + 6  # embedding, head, final norm


def flops(flat):
    return sum(op.flops * op.count for op in step_of(flat).ops if op.kind in MATMULS)


def test_weights_of_several_layers_are_held_once_and_multiply_in_each() -> None:
    assert count_parameters(model_from_flat(TINY)).total == TABLES + 3 * LAYER
    assert count_parameters(model_from_flat(SHARED)).total == TABLES + LAYER
    held = [weight for weight in step_of(SHARED).weights if not weight.tied]
    assert sum(weight.local * weight.count for weight in held) == TABLES + LAYER
    assert flops(SHARED) == flops(TINY)


def test_projections_and_norms_beside_the_blocks_are_each_layers_own() -> None:
    """A further norm and an adapter of [6, 2] and [2, 6] a layer."""
    beside = {"norms_per_layer": 3, "linears": [["adapter.down", 6, 2], ["adapter.up", 2, 6]]}
    assert count_parameters(model_from_flat({**SHARED, **beside})).total == TABLES + LAYER + 3 * (6 + 2 * 6 * 2)


def test_attention_beside_the_embedding_reads_twice_the_width() -> None:
    wide = {**TINY, "attention_d_in": 12}
    more = 6 * 6 + 2 * 6 * 2 + 6  # of q, of k and v, of the norm ahead of them
    assert count_parameters(model_from_flat(wide)).total == TABLES + 3 * (LAYER + more)
    assert op_of("attention.qkv", wide).flops == 2 * 10 * 12 * (6 + 2 * 2)
    assert op_of("attention.qkv", wide).saved_bytes == 10 * 12 * 2


def test_stages_would_need_the_shared_weights_each() -> None:
    model = model_from_flat(SHARED)
    with pytest.raises(RooflineError, match="pp 2 would put layers of tiny that share weights on different stages"):
        build_step(model, TrainConfig(pp=2, num_devices=2))


def test_a_model_says_which_layers_share_their_weights(run, tmp_path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"model_type": "albert", "hidden_size": 64, "embedding_size": 16, "num_hidden_layers": 4, "vocab_size": 99,'
        ' "num_attention_heads": 4, "intermediate_size": 96, "max_position_embeddings": 32}'
    )
    assert run("models", str(path)).out.count("earlier") == 1
