"""Where a projection belongs follows from its dotted name; activations by name."""

import pytest

from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.model.read_layers import linear

from ..small import small


@pytest.mark.parametrize(
    ("name", "d_out", "block", "split"),
    [
        ("attention.gate", 32, "attention", "columns"),
        ("attention.out", 32, "attention", "rows"),
        ("recurrence.convolution", 1, "recurrence", "count"),
        ("convolution.in", 32, "recurrence", "columns"),
        ("anything.else", 32, "other", "none"),
    ],
)
def test_block_and_split(name: str, d_out: int, block: str, split: str) -> None:
    found = linear(name, 16, d_out)
    assert (found.block, found.split) == (block, split)


def test_parameters_of_activations():
    """One slope of a PReLU, two figures of xIELU; experts share theirs, and shared experts have another."""
    tiny = {"n_layers": 1, "d_model": 6, "n_heads": 3, "n_kv_heads": 3, "d_ff": 8, "vocab_size": 11}
    experts = {"n_experts": 4, "experts_per_token": 2, "d_ff_shared": 8}
    for more, times in ((tiny, 1), ({**tiny, **experts}, 2)):
        plain, slope, curve = (
            count_parameters(small(**more, activation=activation)).total for activation in ("relu", "prelu", "xielu")
        )
        assert (slope - plain, curve - plain) == (times, 2 * times)


def test_the_gate_of_t5_is_named_before_its_activation():
    fields = {"model_type": "t5", "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 9}
    told = {"gated-silu": (True, "silu"), "gated-gelu": (True, "gelu_new"), "relu": (False, "relu")}
    for proj, expected in told.items():
        mlp = model_from_config({**fields, "feed_forward_proj": proj}).groups[0].mlp
        assert (mlp.gated, mlp.activation) == expected
