"""What a family of chips has in common: FLOPs per cycle per unit by dtype, and measured efficiencies."""

from typing import Any

import msgspec


class Rates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dense FLOPs per cycle per unit (SM, CU, core) of one variant; fp32 accumulate on tensor cores.

    ``fp64``, ``fp32`` and so on are the engines of `Device.peak`; ``*_vector`` the plain lanes where these
    differ.
    """

    source: str
    applies_to: str
    fp64: float | None = None
    fp32: float | None = None
    tf32: float | None = None
    fp16: float | None = None
    bf16: float | None = None
    fp8: float | None = None
    int8: float | None = None
    fp4: float | None = None
    fp64_vector: float | None = None
    fp32_vector: float | None = None
    fp16_vector: float | None = None
    bf16_vector: float | None = None
    fp16_accumulate_fp16: float | None = None
    fp8_accumulate_fp16: float | None = None
    compute_capability: str | None = None
    lanes: int | None = None  # CUDA cores per SM: NVML counts these
    p2p: bool = True  # the stock driver lets boards of this variant read each other's memory over PCIe
    engine: str = "tensor core"  # what runs the dtypes narrower than fp32
    notes: dict[str, str] = {}  # by dtype: what to know of it on these chips
    note: str | None = None


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file under ``architectures/``; measured figures it lacks are those of its `parent`.

    Attributes:
        attention: Generations of attention kernels that run there (those of vendors without FlashAttention count
            as the generation they are like).
        caveats: What published runs say of estimates on it, with the evidence.
        spread: Standard deviation of log(measured / predicted) by which published sources on it differ from each other,
            beyond those on other architectures; 0 where they do not.
    """

    name: str
    unit: str
    sources: dict[str, str]
    parent: str | None = None
    sparsity: float | None = None  # sparse peak over dense peak; None: no sparse engine
    attention: tuple[str, ...] = ("unfused", "flash1", "flash2", "te")
    caveats: tuple[str, ...] = ()
    spread: float = 0.0
    archspec: tuple[str, ...] = ()  # names that archspec gives CPUs of this family
    flops_per_cycle: dict[str, Rates] = {}
    measured: dict[str, Any] = {}


class Defaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``architectures/default.toml``: efficiencies of an architecture without measurements of its own."""

    measured: dict[str, Any]
