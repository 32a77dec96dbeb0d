"""A tiny model and its ops: what tests of counting share."""

from roofline.config.settle import train_config
from roofline.counting.step import build_step
from roofline.model.load import model_from_flat

from ..small import flat

# b 2 sequences of s 5 tokens: T 10; D 6, three heads of 2, one kv head, F 8, V 11, L 3
TINY = flat(name="tiny", n_layers=3, d_model=6, n_heads=3, n_kv_heads=1, d_ff=8, vocab_size=11)
PLAIN = {**TINY, "n_kv_heads": 3, "gated_mlp": False}
EXPERTS = {**TINY, "n_experts": 4, "experts_per_token": 2}


def step_of(flat=TINY, **options):
    options = {"micro_batch": 2, "seq_len": 5, "stack": "compiled", **options}
    return build_step(model_from_flat(flat), train_config(options))


def op_of(name, flat=TINY, **options):
    (op,) = [op for op in step_of(flat, **options).ops if op.name == name]
    return op
