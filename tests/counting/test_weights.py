"""Parameters that a device holds, and the bytes of their gradients."""

import pytest

from roofline.config.run import TrainConfig
from roofline.counting.weights import Matrices, gradient_bytes


def test_parameters_of_matrices_side_by_side() -> None:
    assert Matrices(3, 5, 7).parameters == 105


@pytest.mark.parametrize(("dtype", "size"), [("fp32", 4), ("bf16", 2)])
def test_a_gradients_dtype_as_said(dtype: str, size: int) -> None:
    assert gradient_bytes(TrainConfig(micro_batch=1, seq_len=8, gradient_dtype=dtype)) == size
