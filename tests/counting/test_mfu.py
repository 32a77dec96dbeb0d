import numpy as np
import pytest

from roofline.counting.keys import counted_keys
from roofline.counting.mfu import (
    RULES,
    attention_flops_per_token,
    matmul_weights,
    mfu_by_rule,
    model_flops_per_token,
    rule_in_words,
)
from roofline.errors import RooflineError
from roofline.model.huggingface import model_from_config
from roofline.model.load import load_model
from roofline.model.spec import Attention, LayerGroup, Mlp, ModelConfig, Moe, Norm


def decoder(attention: Attention, mlp: Mlp | Moe, *, layers: int, d_model: int, vocab: int, **options) -> ModelConfig:
    group = LayerGroup(count=layers, attention=attention, mlp=mlp, norms=(Norm(), Norm()))
    return ModelConfig(name="test", d_model=d_model, vocab_size=vocab, groups=(group,), final_norm=Norm(), **options)


def heads(count: int, kv: int, dim: int, **options) -> Attention:
    return Attention(n_heads=count, n_kv_heads=kv, head_dim=dim, value_head_dim=dim, **options)


# TinyLlama 1.1B: https://huggingface.co/TinyLlama/TinyLlama_v1.1/blob/main/config.json
TINYLLAMA = decoder(heads(32, 4, 64), Mlp(d_ff=5632, gated=True), layers=22, d_model=2048, vocab=32000)


def test_tinyllama_by_every_rule():
    # 24k tokens/s on an A100 at 2048 tokens: github:jzhang38/TinyLlama issue 147
    by_rule = mfu_by_rule(TINYLLAMA, 2048, tokens_per_s=24_000, num_devices=1, peak_flops_per_s=312e12)
    percent = {rule: round(100 * value, 1) for rule, value in by_rule.items()}
    assert percent == {"6N+12LdS": 56.3, "causal": 52.0, "6N": 50.8, "6N-without-embedding": 47.7, "6N-all+12LdS": 59.3}


def test_weights_that_multiply():
    # q 6*4, k and v 6*2 each, out 4*6; up and down 2*6*10; 3 layers; head 6*11
    model = decoder(heads(2, 1, 2), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    assert matmul_weights(model) == 3 * (24 + 24 + 24 + 120) + 66
    # scores and weighted sum: 2 heads of 2, 5 keys, 2 FLOPs, twice
    assert attention_flops_per_token(model, 5) == 3 * 2 * 2 * 5 * 4
    assert model_flops_per_token(model, 5) == 6 * 642 + 3 * 240


def test_tied_and_untied_heads_need_the_same_flops():
    untied = decoder(heads(2, 1, 2), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    tied = decoder(heads(2, 1, 2), Mlp(d_ff=10), layers=3, d_model=6, vocab=11, tied_embeddings=True)
    assert model_flops_per_token(tied, 7) == model_flops_per_token(untied, 7)
    assert model_flops_per_token(untied, 7, "6N") - model_flops_per_token(tied, 7, "6N") == 6 * 66


def test_only_visited_experts_count():
    moe = Moe(n_experts=8, experts_per_token=2, expert=Mlp(d_ff=10, gated=True), shared=Mlp(d_ff=5), shared_gate=True)
    dense = decoder(heads(2, 2, 3), Mlp(d_ff=10), layers=1, d_model=6, vocab=11)
    sparse = decoder(heads(2, 2, 3), moe, layers=1, d_model=6, vocab=11)
    # router 6*8, two gated experts 2*3*60, shared 2*30, its gate 6; instead of 2*60
    assert matmul_weights(sparse) - matmul_weights(dense) == 48 + 360 + 60 + 6 - 120


def test_latent_attention():
    # DeepSeek-V2's shapes in small: q 6 -> 3 -> 2*(4), kv 6 -> 2 (+ rope 1) -> 2*(3 + 5), out 2*5 -> 6
    mla = Attention(
        n_heads=2, n_kv_heads=2, head_dim=4, value_head_dim=5, q_lora_rank=3, kv_lora_rank=2, rope_head_dim=1
    )
    model = decoder(mla, Mlp(d_ff=10), layers=1, d_model=6, vocab=11)
    assert matmul_weights(model) == (18 + 24) + (18 + 32) + 60 + 120 + 66
    assert attention_flops_per_token(model, 10) == 2 * 10 * 2 * (4 + 5)


def test_causal_is_half_and_a_window_bounds():
    full = decoder(heads(2, 1, 2), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    window = decoder(heads(2, 1, 2, window=4), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    encoder = decoder(heads(2, 1, 2, causal=False), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    assert 2 * attention_flops_per_token(full, 8, causal=True) == attention_flops_per_token(full, 8)
    assert attention_flops_per_token(encoder, 8, causal=True) == attention_flops_per_token(encoder, 8)
    assert 2 * attention_flops_per_token(window, 8) == attention_flops_per_token(full, 8)
    assert attention_flops_per_token(window, 3, causal=True) == attention_flops_per_token(full, 3, causal=True)


@pytest.mark.parametrize("rule", RULES)
def test_arrays_equal_scalars(rule):
    model = decoder(heads(2, 1, 2, window=4), Mlp(d_ff=10), layers=3, d_model=6, vocab=11)
    lengths = [1, 3, 4, 5, 100]
    batch = model_flops_per_token(model, np.array(lengths), rule) * np.ones(5)
    assert list(batch) == [model_flops_per_token(model, length, rule) for length in lengths]


def test_unknown_rule():
    with pytest.raises(RooflineError, match="did you mean"):
        model_flops_per_token(TINYLLAMA, 2048, "6N+12LDS")


def test_the_rule_names_layers_that_do_not_see_all():
    """Every second of 42 layers of Gemma 2 has a window of 4,096; of Llama 4 Scout 36 of 48 have chunks of 8,192."""
    gemma, scout = load_model("gemma-2-9b"), load_model("llama-4-scout")
    assert rule_in_words(gemma, 8192).endswith("; 21 of 42 layers attend to 4,096 tokens at most")
    assert rule_in_words(scout, 32768, "causal").endswith("; 36 of 48 layers attend to 8,192 tokens at most")
    assert rule_in_words(gemma, 4096) == RULES["6N+12LdS"]
    assert rule_in_words(gemma, 8192, "6N") == RULES["6N"]


@pytest.mark.parametrize(
    (
        "model_type",
        "fields",
        "windows",
    ),  # tokens that layers of each kind attend to, of masking_utils.py of transformers
    [
        ("gemma2", {"head_dim": 4, "sliding_window": 16}, {16: 2, 64: 2}),
        ("gemma3_text", {"head_dim": 4, "sliding_window": 16}, {16: 4}),  # the sixth layer would be a full one
        ("mistral", {"sliding_window": 16}, {16: 4}),
        ("mistral", {"sliding_window": None}, {64: 4}),
        ("phi3", {"sliding_window": 16}, {16: 4}),
        ("qwen2", {"sliding_window": 16, "use_sliding_window": False}, {64: 4}),
        ("qwen2", {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 1}, {16: 3, 64: 1}),
        ("gpt_oss", {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2}, {16: 2, 64: 2}),
        ("exaone4", {"sliding_window": 16, "sliding_window_pattern": 4}, {16: 3, 64: 1}),
        ("cohere2", {"sliding_window": 16}, {16: 3, 64: 1}),
        (
            "granite_swa",
            {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"] * 2},
            {16: 2, 64: 2},
        ),
        ("modernbert", {"local_attention": 16}, {17: 2, 64: 2}),  # 8 on either side, and the token itself
        ("llama4_text", {"attention_chunk_size": 16, "intermediate_size_mlp": 32}, {16: 3, 64: 1}),
    ],
)
def test_how_much_layers_attend_to(model_type, fields, windows):
    sizes = {"num_hidden_layers": 4, "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 32, "vocab_size": 11, "num_local_experts": 2, "num_experts_per_tok": 1}
    model = model_from_config({"model_type": model_type, **sizes, **fields}, overrides={"ignore": "all"})
    found: dict[int, int] = {}
    for group in model.groups:
        keys = round(counted_keys(group.attention, 64))
        found[keys] = found.get(keys, 0) + group.count
    assert found == windows
