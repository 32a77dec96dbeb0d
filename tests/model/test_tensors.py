"""One matrix: its parameters, its shape on a device, the words that give it an adapter."""

import numpy as np
import pytest

from roofline.model.load import model_from_flat
from roofline.model.projections import layer_projections
from roofline.model.tensors import Projection, joined_words, kernels

FLAT = {
    "n_layers": 1,
    "d_model": 64,
    "n_heads": 8,
    "n_kv_heads": 2,
    "d_ff": 96,
    "vocab_size": 11,
    "n_experts": 4,
    "experts_per_token": 2,
    "n_shared_experts": 1,
    "shared_gate": True,
    "linears": [["recurrence.convolution", 4, 1, True, 48], ["recurrence.out", 48, 64], ["altup.predict", 5, 7]],
}
MATRICES = {p.name: p for p in layer_projections(model_from_flat(FLAT).groups[0], 64)}


@pytest.mark.parametrize(
    ("name", "tp", "ep", "shape"),
    [
        ("attention.q", 4, 1, (64, 16, 1)),
        ("attention.k", 2, 1, (64, 8, 1)),  # one of two heads of 8
        ("attention.k", 8, 1, (64, 8, 1)),  # a copy on four devices
        ("attention.out", 4, 1, (16, 64, 1)),
        ("router.router", 4, 2, (64, 4, 1)),
        ("experts.up", 4, 2, (64, 24, 2)),
        ("experts.down", 1, 4, (96, 64, 1)),
        ("shared_expert.down", 2, 4, (48, 64, 1)),
        ("shared_expert.weigh", 2, 4, (64, 1, 1)),
        ("recurrence.convolution", 4, 1, (4, 1, 12)),
        ("recurrence.out", 4, 1, (12, 64, 1)),
        ("other.predict", 4, 1, (5, 7, 1)),
    ],
)
def test_the_shape_on_one_device(name: str, tp: int, ep: int, shape: tuple[int, int, int]) -> None:
    assert MATRICES[name].local(tp, ep) == shape


def test_many_layouts_at_once_are_the_same_one_by_one() -> None:
    tp = np.array([1.0, 2.0, 4.0, 8.0])
    for matrix in MATRICES.values():
        d_in, d_out, count = np.broadcast_arrays(*(np.asarray(size) for size in matrix.local(tp, 2)), tp)[:3]
        alone = [matrix.local(int(one), 2) for one in tp]
        assert list(zip(d_in, d_out, count, strict=True)) == alone


def test_parameters_of_all_and_of_those_a_token_visits() -> None:
    experts = Projection(block="experts", part="up", kernel="up", d_in=3, d_out=5, bias=True, count=6, visited=2)
    assert (experts.params, experts.visited_params, experts.met) == (6 * 20, 2 * 20, 2 * 15)
    tied = Projection(block="logits", part="logits", kernel="logits", d_in=3, d_out=5, bias=True, stored=False)
    assert (tied.params, tied.met) == (5, 15)


def test_words_that_give_a_matrix_an_adapter() -> None:
    assert MATRICES["attention.q"].words == ("all", "attention", "q_proj", "query")
    assert MATRICES["experts.up"].words == ("all", "mlp", "up_proj", "fc1", "c_fc")
    assert MATRICES["recurrence.out"].words == ("all",)
    assert MATRICES["router.router"].words == ()


def test_words_for_the_matrices_of_a_kernel_together_need_all_of_them() -> None:
    joined = {parts[0].kernel: joined_words(parts) for parts in kernels(MATRICES.values())}
    assert joined["attention.qkv"] == ("qkv_proj", "query_key_value", "c_attn")
    assert joined["experts.up"] == ("gate_up_proj",)
    assert joined["attention.out"] == ()
    plain = model_from_flat({**FLAT, "gated_mlp": False, "value_is_key": True, "rotary": True, "norm": "rms"})
    assert not any(joined_words(parts) for parts in kernels(layer_projections(plain.groups[0], 64)))
