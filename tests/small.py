"""Small models, whose figures tests work out by hand."""

from typing import Any

from roofline.model.load import model_from_flat
from roofline.model.spec import ModelConfig


def flat(**keys: Any) -> dict[str, Any]:
    """The flat keys of a gated decoder of at most 64 tokens, unless they say otherwise."""
    return {"name": "small", "gated_mlp": True, "max_seq_len": 64, **keys}


def small(**keys: Any) -> ModelConfig:
    """The model of these keys."""
    return model_from_flat(flat(**keys))
