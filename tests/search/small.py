"""A device and small models that tests of the search share."""

import roofline
from roofline.hardware import load_device
from roofline.model.load import model_from_flat

from ..small import small

DEVICE = load_device("a100-sxm-80gb")
DENSE = small(
    name="dense", n_layers=24, d_model=2048, n_heads=16, n_kv_heads=8, d_ff=5504, vocab_size=32000, max_seq_len=4096
)
TIED = model_from_flat(
    {
        "name": "tied",
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 12,
        "d_ff": 3072,
        "vocab_size": 50257,
        "learned_positions": 1024,
        "max_seq_len": 1024,
        "tied_embeddings": True,
        "biases": True,
        "rotary": False,
    }
)
EXPERTS = small(
    name="experts",
    n_layers=8,
    d_model=1024,
    n_heads=16,
    d_ff=4096,
    n_experts=8,
    experts_per_token=2,
    vocab_size=32000,
    max_seq_len=2048,
)
ASKED = {"num_devices": (8, 16), "global_batch": 64, "stack": "megatron", "seq_len": 2048}


def found(**more):
    return roofline.layouts("llama-2-7b", "a100-sxm-80gb", **ASKED, **more)


def told(result):
    """Everything but how long it took."""
    kept = result.to_dict()
    kept.pop("seconds")
    return kept
