"""What a model is, as far as its cost goes."""

import pytest

from roofline.model.spec import LayerGroup, ModelConfig, Norm


@pytest.mark.parametrize(
    ("norm", "params"),
    [(Norm(), 8), (Norm(kind="layer", bias=True), 16), (Norm(weight=False), 0), (Norm(weight=False, bias=True), 8)],
)
def test_parameters_of_a_norm(norm: Norm, params: int) -> None:
    assert norm.params(8) == params


def test_a_model_generates_without_its_layers_ahead() -> None:
    """Of four kinds of layers in turn, one predicts ahead: the others keep their order."""
    plain = LayerGroup(count=2, attention=None, mlp=None, norms=())
    ahead = LayerGroup(count=1, attention=None, mlp=None, norms=(), ahead=True)
    model = ModelConfig(
        name="m", d_model=64, vocab_size=100, groups=(plain, ahead, plain), order=(2, 0, 2, 0, 1), heads_ahead=1
    )
    generating = model.without_ahead()
    assert generating.groups == (plain, plain)
    assert generating.layer_order == (1, 0, 1, 0)
    assert generating.heads_ahead == 0
