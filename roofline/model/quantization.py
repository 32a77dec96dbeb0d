"""How a checkpoint stores its weights: the ``quantization_config`` of a ``config.json``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import RooflineError, shown
from .projections import layer_projections, layer_vectors, model_projections, model_vectors
from .spec import Block, ModelConfig, Quantization
from .tensors import Projection, Vector

# Never quantised by any of the methods: look-up tables, head, routers, and what is no matrix.
WHOLE: tuple[Block, ...] = ("embedding", "positions", "logits", "router", "norm", "indexer")
_NOT_EXPERTS: tuple[Block, ...] = (
    *WHOLE,
    "attention",
    "cross_attention",
    "mlp",
    "shared_expert",
    "recurrence",
    "other",
)
_SKIPS: Mapping[str, tuple[Block, ...]] = {  # what the patterns of modules left alone name
    "attn": ("attention", "cross_attention"),
    "shared_expert": ("shared_expert",),
    "mlp": ("mlp",),
}
_LARGEST = 10**7  # weights that share a scale, along one dimension


def read(config: Mapping[str, Any], where: str) -> Quantization | None:
    """What a config says of its stored weights; None where they are in the dtype of the model.

    Raises:
        RooflineError: A method that is not known: what its weights take cannot be said.
    """
    entry = config.get("quantization_config")
    if not entry:
        return None
    if not isinstance(entry, Mapping):
        raise RooflineError(f"{where}: quantization_config must be an object with fields, got {shown(entry)}")
    method = entry.get("quant_method") or ("bitsandbytes" if "load_in_4bit" in entry else "")
    reader = _METHODS.get(str(method).lower())
    if reader is None:
        raise RooflineError(
            f"{where}: quantization_config has quant_method {shown(method, 40)}, which is not read "
            f"(known: {', '.join(_METHODS)}): remove it to count the weights in 16 bits"
        )
    try:
        return reader(entry, config)
    except RooflineError as error:
        raise RooflineError(f"{where}: in quantization_config {error}: correct it") from None


def _whole(values: Mapping[str, Any], names: Sequence[str], default: int, low: int, high: int) -> int:
    """The whole number under the first of `names` that is stated."""
    name = next((name for name in names if values.get(name) is not None), "")
    value = values.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise RooflineError(f"{name} must be a whole number from {low} to {high}, got {shown(value)}")
    return value


def _group(values: Mapping[str, Any], names: Sequence[str], default: int) -> int:
    """Weights that share a scale; 0 where a whole row or tensor does (-1, as GPTQ writes it)."""
    return max(0, _whole(values, names, default, -1, _LARGEST))


def _bitsandbytes(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization | None:
    """A scale in fp32 for 64 weights of 4 bits (arXiv:2305.14314, section 3), or for a row of 8-bit weights."""
    if entry.get("load_in_4bit") or entry.get("_load_in_4bit"):
        kind = "nf4" if entry.get("bnb_4bit_quant_type", "fp4") == "nf4" else "fp4"
        scale = 8 + 32 / 256 if entry.get("bnb_4bit_use_double_quant") else 32.0
        return Quantization(method="bitsandbytes", dtype=kind, bits=4, block=64, scale_bits=scale, whole=WHOLE)
    return Quantization(method="bitsandbytes", dtype="int8", bits=8, whole=WHOLE)


def _fp8(entry: Mapping[str, Any], config: Mapping[str, Any]) -> Quantization:
    """A scale for a tile of 128 x 128 weights (DeepSeek-V3, arXiv:2412.19437, section 3.3), or for a tensor."""
    tile = entry.get("weight_block_size")
    if tile is not None and not (isinstance(tile, list) and len(tile) == 2):
        raise RooflineError(f"weight_block_size must be two whole numbers, got {shown(tile)}")
    sides = [_whole({"weight_block_size": side}, ["weight_block_size"], 1, 1, _LARGEST) for side in tile or ()]
    block = math.prod(sides) if sides else 0
    scale = 8.0 if entry.get("scale_fmt") == "ue8m0" else 32.0
    small = str(config.get("expert_dtype", entry.get("expert_dtype", ""))).lower() == "fp4"
    return Quantization(
        method="fp8",
        dtype="fp8",
        bits=8,
        block=block,
        scale_bits=scale,
        whole=WHOLE,
        experts=Quantization(method="fp8", dtype="mxfp4", bits=4, block=32, scale_bits=8.0) if small else None,
    )


def _mxfp4(_: Mapping[str, Any], __: Mapping[str, Any]) -> Quantization:
    """Experts alone, a scale of 8 bits for 32 weights (OCP Microscaling 1.0; gpt-oss)."""
    return Quantization(method="mxfp4", dtype="mxfp4", bits=4, block=32, scale_bits=8.0, whole=_NOT_EXPERTS)


def _integer(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization:
    """GPTQ and AWQ: a scale of 16 bits and a zero point for a group of weights."""
    bits = _whole(entry, ("bits", "w_bit"), 4, 1, 16)
    group = _group(entry, ("group_size", "q_group_size"), 128)
    method = str(entry.get("quant_method"))
    return Quantization(method=method, dtype=f"int{bits}", bits=bits, block=group, scale_bits=16.0 + bits, whole=WHOLE)


def _compressed(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization | None:
    """compressed-tensors: the first group's weights, without the modules that ``ignore`` names."""
    groups = entry.get("config_groups")
    first: Any = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return None
    bits, group = _whole(weights, ("num_bits",), 8, 1, 16), _group(weights, ("group_size",), 0)
    kind = ("fp" if weights.get("type") == "float" else "int") + str(bits)
    packed = str(entry.get("format", first.get("format", "")))
    kind = "mxfp4" if packed.startswith("mxfp4") else "nvfp4" if packed.startswith("nvfp4") else kind
    scale = 8.0 if kind in {"mxfp4", "nvfp4"} else 16.0
    ignored = str(entry.get("ignore") or "")
    whole = [*WHOLE, *(block for word, blocks in _SKIPS.items() if word in ignored for block in blocks)]
    return Quantization(
        method="compressed-tensors", dtype=kind, bits=bits, block=group, scale_bits=scale, whole=tuple(whole)
    )


def _modelopt(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization:
    """NVIDIA ModelOpt: FP8 with a scale per tensor, or NVFP4 with one of 8 bits for 16 weights."""
    if "FP4" in str(entry.get("quant_algo", "")).upper():
        return Quantization(method="modelopt", dtype="nvfp4", bits=4, block=16, scale_bits=8.0, whole=WHOLE)
    return Quantization(method="modelopt", dtype="fp8", bits=8, whole=WHOLE)


def _bitnet(_: Mapping[str, Any], __: Mapping[str, Any]) -> Quantization:
    """Ternary weights, four to a byte (arXiv:2402.17764)."""
    return Quantization(method="bitnet", dtype="int2", bits=2, whole=WHOLE)


_METHODS: Mapping[str, Any] = {
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "mxfp4": _mxfp4,
    "gptq": _integer,
    "awq": _integer,
    "compressed-tensors": _compressed,
    "modelopt": _modelopt,
    "bitnet": _bitnet,
}


def weight_bytes(model: ModelConfig, whole: float = 2.0) -> float:
    """Bytes of the model's weights as its checkpoint stores them, `whole` for each that is not quantised."""
    total = 0.0
    for group in model.groups:
        width = model.d_model
        total += group.count * _bytes(model.quantization, whole, layer_projections(group, width))
        total += group.count * sum(vector.size for vector in layer_vectors(group, width)) * whole
    return total + _bytes(model.quantization, whole, (*model_projections(model), *model_vectors(model)))


def _bytes(quantization: Quantization | None, whole: float, tensors: Iterable[Projection | Vector]) -> float:
    """Bytes of some tensors; biases and vectors stay whole."""
    total = 0.0
    for tensor in tensors:
        if isinstance(tensor, Vector):
            total += tensor.size * whole
            continue
        biases = tensor.count * tensor.bias * tensor.d_out
        weights = tensor.params - biases
        total += biases * whole + weights * (
            quantization.bytes_per_weight(tensor.block, whole) if quantization else whole
        )
    return total
