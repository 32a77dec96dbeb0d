"""What a model is, as far as its cost goes."""

from __future__ import annotations

import pytest

from roofline.model.spec import Norm


@pytest.mark.parametrize(
    ("norm", "params"),
    [(Norm(), 8), (Norm(kind="layer", bias=True), 16), (Norm(weight=False), 0), (Norm(weight=False, bias=True), 8)],
)
def test_parameters_of_a_norm(norm: Norm, params: int) -> None:
    assert norm.params(8) == params
