import numpy as np
import pytest

from roofline.counting.mfu import RULES, attention_flops_per_token, matmul_weights, mfu_by_rule, model_flops_per_token
from roofline.errors import RooflineError
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
