"""Parameter counts by hand on small, distinct dimensions, and what must hold for every model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.model.load import load_model, model_from_flat
from roofline.model.parameters import count_parameters
from roofline.model.presets import model_ids

TINY = {
    "n_layers": 3,
    "d_model": 8,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_ff": 20,
    "vocab_size": 11,
    "rotary": True,
    "gated_mlp": True,
    "norm": "rms",
    "biases": False,
}


def layer(**changes: object) -> int:
    return count_parameters(model_from_flat({**TINY, **changes})).layers[0].total


def test_a_gated_layer_by_hand() -> None:
    # q 8*8, k and v 8*4 each, out 8*8; gate, up and down 8*20 each; two norms of 8
    assert layer() == 64 + 32 + 32 + 64 + 3 * 160 + 16


def test_a_plain_layer_with_biases_by_hand() -> None:
    # weights as above with two feed-forward matrices; biases 8 + 4 + 4 + 8 + 20 + 8; LayerNorm weight and bias
    plain = layer(gated_mlp=False, norm="layer", biases=True, learned_positions=0)
    assert plain == 192 + 320 + 52 + 32


def test_the_whole_model_by_hand() -> None:
    parameters = count_parameters(model_from_flat({**TINY, "tied_embeddings": True}))
    assert parameters.embedding == 88
    assert parameters.head == 0
    assert parameters.other == 8  # the final norm
    assert parameters.total == 88 + 3 * 688 + 8


def test_untying_adds_the_head_alone() -> None:
    tied, untied = (count_parameters(model_from_flat({**TINY, "tied_embeddings": t})) for t in (True, False))
    assert untied.total - tied.total == 11 * 8
    assert (untied.head, tied.head) == (11 * 8, 0)


def test_experts_count_once_each_and_active_by_the_router() -> None:
    moe = count_parameters(
        model_from_flat({**TINY, "n_experts": 6, "experts_per_token": 2, "d_ff_expert": 5, "n_shared_experts": 1})
    )
    expert = 3 * 8 * 5
    assert moe.layers[0].experts == 6 * expert
    assert moe.layers[0].mlp == expert  # the shared one
    assert moe.layers[0].router == 8 * 6
    assert moe.total - moe.active == 3 * 4 * expert


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ({"qk_norm": "head"}, 2 + 2),  # over head_dim = 2
        ({"qk_norm": "full"}, 8 + 4),
        ({"sinks": True}, 4),
        ({"qkv_bias": True}, 8 + 4 + 4),
        ({"norms_per_layer": 4}, 2 * 8),
        ({"head_dim": 3}, 4 * 1 * 8 * 2 + 2 * 1 * 8 * 2),
        ({"value_is_key": True}, -32),
        ({"reuses_kv": True}, -64),
        ({"linears": [["attention.gate", 8, 4]]}, 32),
        ({"layer_extra_params": 7}, 7),
        ({"window": 5}, 0),
        ({"softcap": True}, 0),
        ({"parallel_block": True, "norms_per_layer": 1}, -8),
    ],
)
def test_what_each_part_adds_to_a_layer(changes: dict[str, object], extra: int) -> None:
    assert layer(**changes) == layer() + extra


def test_latent_attention_by_hand() -> None:
    latent = {
        "head_dim": 6,
        "value_head_dim": 4,
        "rope_head_dim": 2,
        "q_lora_rank": 5,
        "kv_lora_rank": 3,
        "n_kv_heads": 4,
    }
    # q: 8*5 + norm 5 + 5*4*6; kv: 8*(3 + 2) + norm 3 + 3*4*(4 + 4); out 4*4*8
    attention = count_parameters(model_from_flat({**TINY, **latent})).layers[0].attention
    assert attention == 40 + 5 + 120 + 40 + 3 + 96 + 128


def test_a_mamba_layer_by_hand() -> None:
    # d 8, inner 16, state 4, rank 1: in, convolution of 4 with bias, parameters, step with bias, out, A and D, norm
    from roofline.model.huggingface import model_from_config

    mamba = {
        "model_type": "mamba",
        "hidden_size": 8,
        "state_size": 4,
        "num_hidden_layers": 2,
        "vocab_size": 11,
        "intermediate_size": 16,
        "time_step_rank": 1,
    }
    parameters = count_parameters(model_from_config(mamba))
    assert parameters.layers[0].total == 8 * 32 + 16 * 5 + 16 * 9 + 2 * 16 + 16 * 8 + 16 * 5 + 8


@given(
    n_layers=st.integers(1, 40),
    heads=st.integers(1, 16),
    head_dim=st.integers(1, 64),
    d_ff=st.integers(1, 999),
    vocab=st.integers(1, 9999),
    tied=st.booleans(),
    gated=st.booleans(),
)
def test_components_sum_to_the_total(
    n_layers: int, heads: int, head_dim: int, d_ff: int, vocab: int, tied: bool, gated: bool
) -> None:
    model = model_from_flat(
        {
            "n_layers": n_layers,
            "d_model": heads * head_dim,
            "n_heads": heads,
            "d_ff": d_ff,
            "vocab_size": vocab,
            "tied_embeddings": tied,
            "gated_mlp": gated,
        }
    )
    p = count_parameters(model)
    parts = p.embedding + p.positions + p.head + p.other
    assert p.total == parts + sum(group.count * group.total for group in p.layers)
    assert p.active == p.total


@pytest.mark.parametrize("model_id", model_ids())
def test_layers_of_all_groups_are_the_layers(model_id: str) -> None:
    parameters = count_parameters(load_model(model_id))
    assert sum(group.count for group in parameters.layers) == load_model(model_id).n_layers
