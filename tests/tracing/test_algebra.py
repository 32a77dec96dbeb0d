"""Dense algebra, transforms, bags and bilinear layers, counted by hand."""

import math

import pytest

from roofline.tracing import algebra, matmul  # noqa: F401  register their rules
from roofline.tracing.rules import Call, Operand, costs


def operand(*shape: int, itemsize: int = 4, is_complex: bool = False) -> Operand:
    """A dense tensor of that shape."""
    elements = math.prod(shape)
    return Operand(shape=shape, itemsize=itemsize, elements=elements, identity=(shape, itemsize), is_complex=is_complex)


def flops(name: str, *outputs: Operand, **args: object) -> float:
    """FLOPs of one call."""
    inputs = tuple(value for value in args.values() if isinstance(value, Operand))
    return sum(cost.flops for cost in costs(Call(name=name, args=dict(args), inputs=inputs, outputs=outputs)))


def test_factorizations_by_hand() -> None:
    matrix = operand(2, 6, 6)  # two of 6 x 6: n^3 = 216
    assert flops("aten.linalg_cholesky_ex", matrix, self=matrix) == 2 * 72
    assert flops("aten.linalg_lu_factor_ex", matrix, A=matrix) == pytest.approx(2 * 2 * 216 / 3)
    assert flops("aten.linalg_inv_ex", matrix, A=matrix) == 2 * 2 * 216
    assert flops("aten._linalg_eigh", matrix, A=matrix, compute_v=True) == 2 * 9 * 216
    assert flops("aten._linalg_solve_ex", operand(2, 6, 3), A=matrix, B=operand(2, 6, 3)) == pytest.approx(
        2 * 2 * 216 / 3 + 2 * 2 * 36 * 3
    )
    tall = operand(10, 4)  # 2 m n^2 - 2 n^3 / 3, twice for Q
    assert flops("aten.linalg_qr", tall, A=tall) == pytest.approx(2 * (320 - 128 / 3))


def test_a_transform_has_five_log2_n_per_number() -> None:
    signal = operand(3, 8, itemsize=8, is_complex=True)
    assert flops("aten._fft_c2c", signal, self=signal, dim=[1]) == 3 * 8 * 5 * 3
    image = operand(8, 16, itemsize=8, is_complex=True)
    assert flops("aten._fft_c2c", image, self=image, dim=[0, 1]) == 128 * 5 * (3 + 4)
    real, half = operand(3, 8), operand(3, 5, itemsize=8, is_complex=True)
    assert flops("aten._fft_r2c", half, self=real, dim=[1]) == 3 * 8 * 5 * 3 / 2


def test_a_complex_matmul_is_four_real_ones() -> None:
    left, right, out = (operand(*shape, itemsize=8, is_complex=True) for shape in ((2, 3), (3, 5), (2, 5)))
    assert flops("aten.mm", out, self=left, mat2=right) == 8 * 2 * 3 * 5


def test_an_embedding_bag_reads_the_rows_it_adds_up() -> None:
    table, indices, bags = operand(1000, 16), operand(12, itemsize=8), operand(4, 16)
    call = Call(
        name="aten._embedding_bag",
        args={"weight": table, "indices": indices},
        inputs=(table, indices),
        outputs=(bags, operand(12, itemsize=8)),
    )
    (cost,) = costs(call)
    assert (cost.flops, cost.read, cost.written) == (12 * 16, 12 * 8 + 12 * 16 * 4, 4 * 16 * 4)


def test_a_bilinear_layer_multiplies_all_three() -> None:
    # nn.Bilinear: x1 [b, i], w [o, i, j], x2 [b, j] -> [b, o], sums over i and j
    args = {"i1": operand(4, 3), "i2": operand(7, 3, 5), "i3": operand(4, 5)}
    expand = {"expand1": [1, 3], "expand2": [0], "expand3": [1, 2]}
    assert flops("aten._trilinear", operand(4, 7), **args, **expand) == 3 * 4 * 7 * 3 * 5
