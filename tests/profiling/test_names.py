"""What a kernel's name says."""

import pytest

from roofline.profiling.names import attention_kernel, dtype_of, is_nccl, item_bytes, kind_of, runs_tf32, short


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [
        ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_nn", "matmul", "bf16"),
        ("volta_sgemm_128x64_tn", "matmul", "fp32"),
        ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "collective", None),
        ("my_own_thing", None, None),
    ],
)
def test_kind_and_dtype(name: str, kind: str | None, dtype: str | None) -> None:
    assert (kind_of(name), dtype_of(name)) == (kind, dtype)


def test_collectives_of_both_vendors() -> None:
    assert is_nccl("ncclKernel_AllReduce_RING_LL_Sum_float")
    assert is_nccl("rcclGenericKernel")
    assert not is_nccl("ampere_sgemm_128x64_nn")


def test_fp32_operands_on_the_matrix_engines() -> None:
    assert runs_tf32("cutlass_80_tensorop_s1688gemm_128x128_16x4_nn_align4")
    assert not runs_tf32("turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_nn".replace("gemm", "f16gemm"))


@pytest.mark.parametrize(
    ("name", "size"),
    [("Copy<OpaqueType<4u>, int>", 4), ("f<double>", 8), ("f<float>", 4), ("f<c10::BFloat16>", 2), ("f<int>", None)],
)
def test_bytes_of_an_element(name: str, size: int | None) -> None:
    assert item_bytes(name) == size


def test_which_attention_kernel() -> None:
    assert attention_kernel("void flash::FlashAttnFwdSm90<x>") == "flash3"
    assert attention_kernel("cudnn_generated_fort_native_sdpa_sm80_flash_fprop") == "te"
    assert attention_kernel("void flash_fwd_kernel<x>(Flash_fwd_params)") == "flash2"


def test_a_name_in_short() -> None:
    assert short("void (anonymous namespace)::softmax<float>(int)") == "anon::softmax"
    assert short("plain") == "plain"
    assert short("<lambda>") == "<lambda>"
