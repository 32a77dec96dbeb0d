"""What kind of work a kernel is, by its name: for kernels whose operator says nothing, and for what shapes hide."""

from __future__ import annotations

import re
from functools import lru_cache

from .words import words

_NCCL = re.compile(r"nccl|rccl", re.IGNORECASE)
_TF32 = re.compile(r"tf32|s1688(?!f16)|_s16816(?=gemm)", re.IGNORECASE)
_ITEM = re.compile(r"OpaqueType<(\d{1,9})(?!\d)|\b(double|float|BFloat16|Half|__half|nv_bfloat16)\b")
_DTYPES = tuple(  # the narrowest first: kernels name their accumulator too
    (dtype, re.compile(pattern, re.IGNORECASE))
    for dtype, pattern in (
        ("fp8", r"e4m3|e5m2|float8|nvjet_q"),
        ("bf16", r"bf16|bfloat16|nvjet_t"),
        ("fp16", r"fp16|half|f16f16|hgemm|h16816|h884|h1688|s16816gemm_fp16|nvjet_h|_f16_"),
        ("fp64", r"\bdouble\b|dgemm|f64"),
        ("fp32", r"\bfloat\b|sgemm|f32f32|tf32|s1688"),
    )
)
_ITEM_BYTES = {"double": 8, "float": 4}
_FLASH3 = re.compile(r"FlashAttnFwdSm90|FlashAttnBwdSm90|flash.*sm90|hopper", re.IGNORECASE)
_CUDNN = re.compile(r"cudnn.*(sdpa|fmha|attention)|fmha_v2", re.IGNORECASE)


@lru_cache(maxsize=4096)
def kind_of(name: str) -> str | None:
    """The kind of work, in our words; None where the name says nothing.

    >>> kind_of("nvjet_tst_128x256_64x4_1x2_h_bz_coopA_NNT"), kind_of("ncclDevKernel_AllReduce_Sum_bf16_RING_LL")
    ('matmul', 'collective')
    """
    return next((kind for kind, pattern in _patterns() if pattern.search(name)), None)


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in words().kernels.items())


@lru_cache(maxsize=4096)
def is_nccl(name: str) -> bool:
    """Whether NCCL or RCCL made it."""
    return bool(_NCCL.search(name))


def runs_tf32(name: str) -> bool:
    """Whether a matmul of fp32 operands ran on the matrix engines.

    >>> runs_tf32("cutlass_80_tensorop_s1688gemm_64x64_16x6_nn_align4"), runs_tf32("ampere_sgemm_128x64_nn")
    (True, False)
    """
    return bool(_TF32.search(name))


def item_bytes(name: str) -> int | None:
    """Bytes of an element, from the types of a kernel's template.

    >>> item_bytes("CatArrayBatchedCopy<OpaqueType<2u>, unsigned int, 4, 64, 64>"), item_bytes("Kernel2")
    (2, None)
    """
    found = _ITEM.search(name)
    if found is None:
        return None
    return int(found[1]) if found[1] else _ITEM_BYTES.get(found[2], 2)


def dtype_of(name: str) -> str | None:
    """The floating dtype that a kernel works in, as its name says; None where it does not.

    >>> dtype_of("ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_tn"), dtype_of("ampere_sgemm_128x64_nn"), dtype_of("bn")
    ('bf16', 'fp32', None)
    """
    return next((dtype for dtype, pattern in _DTYPES if pattern.search(name)), None)


def attention_kernel(name: str) -> str:
    """Which of our attention kernels it is: flash2 where the name says nothing else."""
    if _FLASH3.search(name):
        return "flash3"
    return "te" if _CUDNN.search(name) else "flash2"


def short(name: str) -> str:
    """A kernel's name without return type, arguments and template.

    >>> short("void at::native::vectorized_elementwise_kernel<4, at::native::Add<float> >(int, char*)")
    'at::native::vectorized_elementwise_kernel'
    """
    name = name.removeprefix("void ").replace("(anonymous namespace)", "anon")
    return re.split(r"[<(]", name, maxsplit=1)[0].strip() or name[:60]
