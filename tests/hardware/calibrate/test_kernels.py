"""The kernels that calibration measures through NumPy."""

from roofline.hardware.calibrate.kernels import CPU_SHAPES, NumpyEngine, gemm, stream_size


def test_a_product_counts_its_flops_and_each_operand_once() -> None:
    kernel = gemm("gemm", "fp32", (2, 3, 5), 4, lambda: lambda: None)
    assert kernel.flops == 2 * 2 * 3 * 5
    assert kernel.bytes == 4 * (2 * 5 + 5 * 3 + 2 * 3)


def test_numpy_measures_products_in_two_dtypes_the_stream_and_a_launch_first() -> None:
    kernels = list(NumpyEngine(1).kernels())
    assert [kernel.group for kernel in kernels[:2]] == ["launch", "stream"]
    assert sum(kernel.dtype == "fp32" and kernel.group == "gemm" for kernel in kernels) == len(CPU_SHAPES)
    assert {kernel.dtype for kernel in kernels} == {"fp32", "fp64"}
    kernels[0].build()()


def test_the_stream_is_beyond_the_caches_and_at_most_a_gibibyte() -> None:
    assert 2**27 <= stream_size() <= 2**30
