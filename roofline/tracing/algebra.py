"""What dense linear algebra, Fourier transforms and embedding bags cost: counts of LAPACK, FFTW and by hand.

Counts are leading terms for real matrices (LAPACK Working Note 41, appendix C; Golub and Van Loan, Matrix Computations,
4th edition, tables 8.3 and section 8.6 for eigenvalues and singular values with their vectors).
"""

from __future__ import annotations

from math import log2, prod

from .rules import Call, Cost, Operand, aten, rule

COMPLEX = 4  # a complex multiply-add is four real ones


def _factor(call: Call, flops: float) -> list[Cost]:
    """A factorization, in one chain of kernels: much of it is matmuls on tiles."""
    first = next(iter(call.inputs))
    times = COMPLEX if first.is_complex else 1
    return [Cost(kind="elementwise", flops=times * flops, read=call.read, written=call.written)]


def _sides(call: Call) -> tuple[int, int, int]:
    """(matrices, rows, columns) of the first argument [..., m, n]."""
    matrix: Operand = next(iter(call.inputs))
    *batch, m, n = matrix.shape
    return prod(batch), m, n


@rule(*aten("linalg_cholesky_ex cholesky"))
def _cholesky(call: Call) -> list[Cost]:
    batch, n, _ = _sides(call)
    return _factor(call, batch * n**3 / 3)


@rule(*aten("cholesky_inverse linalg_inv_ex linalg_pinv"))
def _inverse(call: Call) -> list[Cost]:
    batch, n, _ = _sides(call)
    return _factor(call, 2 * batch * n**3)


@rule(*aten("linalg_lu linalg_lu_factor_ex _linalg_det _linalg_slogdet"))
def _lu(call: Call) -> list[Cost]:
    """[m, n]: m n^2 - n^3 / 3, of square ones 2 n^3 / 3."""
    batch, m, n = _sides(call)
    k = min(m, n)
    return _factor(call, batch * (max(m, n) * k**2 - k**3 / 3))


@rule(*aten("linalg_qr geqrf linalg_householder_product ormqr linalg_lstsq"))
def _qr(call: Call) -> list[Cost]:
    """[m, n] with m >= n: 2 m n^2 - 2 n^3 / 3, and as much again for Q."""
    batch, m, n = _sides(call)
    m, n = max(m, n), min(m, n)
    both = 2 if call.name.endswith("linalg_qr") else 1
    return _factor(call, both * batch * (2 * m * n**2 - 2 * n**3 / 3))


@rule("aten._linalg_solve_ex")
def _solve(call: Call) -> list[Cost]:
    """A factorization, and two triangular solves of n^2 each for every right-hand side."""
    batch, n, _ = _sides(call)
    right: Operand = call.args["B"]
    return _factor(call, batch * 2 * n**3 / 3 + 2 * n * right.numel)


@rule(*aten("linalg_lu_solve cholesky_solve _cholesky_solve_helper triangular_solve"))
def _solve_factored(call: Call) -> list[Cost]:
    """Triangular solves of n^2 for every right-hand side: two, or one."""
    right: Operand = call.args["B"] if "B" in call.args else call.args["self"]
    once = call.name.endswith("triangular_solve")
    return _factor(call, (1 if once else 2) * right.shape[-2] * right.numel)


@rule("aten._linalg_eigh")
def _eigh(call: Call) -> list[Cost]:
    """Tridiagonal form, and QR with its vectors: 9 n^3; without them 4 n^3 / 3."""
    batch, n, _ = _sides(call)
    return _factor(call, batch * (9 * n**3 if call.args.get("compute_v", True) else 4 * n**3 / 3))


@rule("aten._linalg_svd")
def _svd(call: Call) -> list[Cost]:
    """[m, n] with m >= n: 14 m n^2 + 8 n^3 with both sets of vectors; without, 4 m n^2 - 4 n^3 / 3."""
    batch, m, n = _sides(call)
    m, n = max(m, n), min(m, n)
    with_vectors = call.args.get("compute_uv", True)
    return _factor(call, batch * (14 * m * n**2 + 8 * n**3 if with_vectors else 4 * m * n**2 - 4 * n**3 / 3))


@rule(*aten("_fft_c2c _fft_r2c _fft_c2r"))
def _fft(call: Call) -> list[Cost]:
    """Along each dimension of n: 5 log2(n) per complex number (the count of FFTW's benchmarks), of real ones half.

    A kernel for each dimension reads and writes the tensor.
    """
    tensor: Operand = call.args["self"]
    whole = tensor if tensor.numel >= call.outputs[0].numel else call.outputs[0]
    sizes = [whole.shape[dim] for dim in call.args["dim"]]
    half = 1 if "c2c" in call.name else 2
    flops = sum(5 * log2(max(n, 1)) for n in sizes) * whole.numel / half
    times = len(sizes)
    return [Cost(kind="elementwise", flops=flops, read=times * call.read, written=times * call.written, kernels=times)]


@rule(*aten("_embedding_bag _embedding_bag_forward_only"))
def _embedding_bag(call: Call) -> list[Cost]:
    """The rows that the indices name are read and added up; the table is not."""
    table, indices = call.args["weight"], call.args["indices"]
    rows = indices.numel * table.shape[1]
    read = indices.bytes + rows * table.itemsize
    return [Cost(kind="embedding", flops=rows, read=read, written=call.outputs[0].bytes)]


@rule(*aten("_embedding_bag_backward _embedding_bag_dense_backward _embedding_bag_per_sample_weights_backward"))
def _embedding_bag_backward(call: Call) -> list[Cost]:
    """A whole table of zeros, and one row of gradient for each index."""
    grad, indices = call.args["grad"], call.args["indices"]
    rows = indices.numel * grad.shape[-1]
    read = indices.bytes + rows * grad.itemsize
    written = sum(operand.bytes for operand in call.outputs) + rows * grad.itemsize
    return [Cost(kind="embedding", flops=rows, read=read, written=written)]


@rule("aten._trilinear")
def _trilinear(call: Call) -> list[Cost]:
    """Products of three tensors summed: two multiplications and an addition for each, where all three are expanded.

    The arguments have dimensions of 1 inserted where `expand1` and so on say.
    """
    sides: dict[int, int] = {}
    for name in ("1", "2", "3"):
        shape = list(call.args[f"i{name}"].shape)
        for dim in sorted(call.args[f"expand{name}"]):
            shape.insert(dim, 1)
        for dim, size in enumerate(shape):
            sides[dim] = max(sides.get(dim, 1), size)
    return [Cost(kind="matmul", flops=3 * prod(sides.values()), read=call.read, written=call.written)]


@rule("aten._foreach_mm")
def _foreach_mm(call: Call) -> list[Cost]:
    """[m, k] @ [k, n] each, of lists of matrices."""
    flops = sum(
        2 * left.shape[0] * left.shape[1] * right.shape[1]
        for left, right in zip(call.args["self"], call.args["mat2"], strict=True)
    )
    return [Cost(kind="matmul", flops=flops, read=call.read, written=call.written, kernels=len(call.args["self"]))]
