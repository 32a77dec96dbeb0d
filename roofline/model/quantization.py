"""How a checkpoint stores its weights: the ``quantization_config`` of a ``config.json``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from .projections import layer_projections, layer_vectors, model_projections, model_vectors
from .spec import WHOLE, Block, ModelConfig, Quantization
from .tensors import Projection, Vector

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
_SKIPPED = ("ignore", "modules_to_not_convert", "llm_int8_skip_modules", "skip_modules")  # fields with such patterns
_LARGEST = 10**7  # weights that share a scale, along one dimension
_LAYER = re.compile(r"\.(\d+)\.")


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
    loads = {"load_in_4bit", "load_in_8bit"} & entry.keys()
    method = entry.get("quant_method") or ("bitsandbytes" if loads else "")
    reader = _METHODS.get(str(method).lower())
    if reader is None:
        raise RooflineError(
            f"{where}: quantization_config has quant_method {shown(method, 40)}, which is not read "
            f"(known: {', '.join(_METHODS)}): remove it to count the weights in 16 bits"
        )
    try:
        found: Quantization | None = reader(entry, config)
    except RooflineError as error:
        raise RooflineError(f"{where}: quantization_config of {method}: {error}") from None
    if found is None:
        return None
    alone = (block for block in _left_alone(entry, config.get("num_hidden_layers")) if block not in found.whole)
    return msgspec.structs.replace(found, whole=(*found.whole, *alone))


def _left_alone(entry: Mapping[str, Any], layers: Any) -> Iterable[Block]:
    """Blocks whose matrices stay whole: named for all layers, or for more than half of them one by one."""
    for word, blocks in _SKIPS.items():
        named = [str(each) for field in _SKIPPED for each in _list(entry.get(field)) if word in str(each)]
        numbered = {found[1] for each in named if (found := _LAYER.search(each))}
        everywhere = any(not _LAYER.search(each) for each in named)
        if everywhere or (isinstance(layers, int) and 2 * len(numbered) > layers):
            yield from blocks


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(entry: Mapping[str, Any], default: int, *names: str, least: int = 1, most: int = 16) -> int:
    """A whole number of a config, by the first of its names that is there; `default` where none is."""
    name = next((name for name in names if entry.get(name) is not None), "")
    value = entry.get(name, default)
    if type(value) is not int or not least <= value <= most:
        raise RooflineError(f"{name} must be a whole number from {least} to {most}, got {shown(value)}")
    return value


def _group(entry: Mapping[str, Any], default: int, *names: str) -> int:
    """Weights that share a scale; 0 where a whole row or tensor does (-1, as GPTQ writes it)."""
    return max(0, _whole(entry, default, *names, least=-1, most=_LARGEST))


def _bitsandbytes(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization | None:
    """A scale in fp32 for 64 weights of 4 bits (arXiv:2305.14314, section 3), or for a row of 8-bit weights."""
    if entry.get("load_in_4bit") or entry.get("_load_in_4bit"):
        kind = "nf4" if entry.get("bnb_4bit_quant_type", "fp4") == "nf4" else "fp4"
        scale = 8 + 32 / 256 if entry.get("bnb_4bit_use_double_quant") else 32.0
        return Quantization(method="bitsandbytes", dtype=kind, bits=4, block=64, scale_bits=scale, whole=WHOLE)
    return Quantization(method="bitsandbytes", dtype="int8", bits=8, whole=WHOLE)


def _fp8(entry: Mapping[str, Any], config: Mapping[str, Any]) -> Quantization:
    """A scale for a tile of 128 x 128 weights (DeepSeek-V3, arXiv:2412.19437, section 3.3), or for a tensor."""
    name = "weight_block_size"
    tile = entry.get(name)
    if tile is not None and len(_list(tile)) != 2:
        raise RooflineError(f"{name} must be two whole numbers, got {shown(tile)}")
    block = math.prod(_whole({name: side}, 1, name, most=_LARGEST) for side in tile) if tile else 0
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
    """GPTQ, AWQ and AutoRound: a scale of 16 bits and a zero point for a group of weights."""
    bits = _whole(entry, 4, "bits", "w_bit")
    return _grouped(str(entry.get("quant_method")), bits, _group(entry, 128, "group_size", "q_group_size"), 16.0 + bits)


def _hqq(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization:
    """HQQ: a scale and a zero point of 16 bits for a group (github:mobiusml/hqq); modules that differ, as the first."""
    found = entry.get("quant_config")
    modules = found if isinstance(found, Mapping) else {}
    first: Any = modules.get("weight_quant_params", next(iter(modules.values()), None))
    first = first.get("weight_quant_params", first) if isinstance(first, Mapping) else {}
    return _grouped("hqq", _whole(first, 4, "nbits"), _group(first, 64, "group_size"), 32.0)


def _by_name(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization:
    """Quanto, EETQ and torchao: the format is in the name of what weights are; 4 bits and less go by groups of 128.

    Such a group has a scale and a zero point of 16 bits (github:huggingface/optimum-quanto quanto/tensor/weights;
    github:pytorch/ao torchao/quantization Int4WeightOnlyConfig).
    """
    said = entry.get("weights", entry.get("quant_type", "int8"))
    default = said.get("default", said) if isinstance(said, Mapping) else said
    name = str(default.get("_type", "") if isinstance(default, Mapping) else default)
    formats = re.findall(r"(int|float)(\d+)", name.lower())
    if not formats:
        raise RooflineError(f"no format is named by {shown(said)}")
    kind, digits = formats[-1]  # activations come first
    bits = _whole({"bits": int(digits)}, 8, "bits")
    data = default.get("_data") if isinstance(default, Mapping) else None
    group = _group(data if isinstance(data, Mapping) else {}, 128, "group_size") if bits <= 4 else 0
    found = _grouped(str(entry.get("quant_method")), bits, group, 32.0)
    return msgspec.structs.replace(found, dtype=f"fp{bits}") if kind == "float" else found


def _grouped(method: str, bits: int, group: int, scale: float) -> Quantization:
    """Integers of `bits` bits with a scale for each group of weights; a row's does not count."""
    return Quantization(method=method, dtype=f"int{bits}", bits=bits, block=group, scale_bits=scale, whole=WHOLE)


def _compressed(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization | None:
    """compressed-tensors: the first group's weights."""
    groups = entry.get("config_groups")
    first: Any = next(iter(groups.values()), None) if isinstance(groups, Mapping) else None
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return None
    bits, group = _whole(weights, 8, "num_bits"), _group(weights, 0, "group_size")
    kind = ("fp" if weights.get("type") == "float" else "int") + str(bits)
    packed = str(entry.get("format", first.get("format", "")))
    kind = "mxfp4" if packed.startswith("mxfp4") else "nvfp4" if packed.startswith("nvfp4") else kind
    scale = 8.0 if kind in {"mxfp4", "nvfp4"} else 16.0
    return msgspec.structs.replace(_grouped("compressed-tensors", bits, group, scale), dtype=kind)


def _modelopt(entry: Mapping[str, Any], _: Mapping[str, Any]) -> Quantization:
    """NVIDIA ModelOpt: FP8 with a scale per tensor, or NVFP4 with one of 8 bits for 16 weights."""
    if "FP4" in str(entry.get("quant_algo", "")).upper():
        return Quantization(method="modelopt", dtype="nvfp4", bits=4, block=16, scale_bits=8.0, whole=WHOLE)
    return Quantization(method="modelopt", dtype="fp8", bits=8, whole=WHOLE)


def _mxfp8(_: Mapping[str, Any], __: Mapping[str, Any]) -> Quantization:
    """A scale of 8 bits for 32 weights (OCP Microscaling 1.0)."""
    return Quantization(method="mxfp8", dtype="mxfp8", bits=8, block=32, scale_bits=8.0, whole=WHOLE)


def _bitnet(_: Mapping[str, Any], __: Mapping[str, Any]) -> Quantization:
    """Ternary weights, four to a byte (arXiv:2402.17764)."""
    return Quantization(method="bitnet", dtype="int2", bits=2, whole=WHOLE)


_METHODS: Mapping[str, Any] = {
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "fbgemm_fp8": _fp8,
    "mxfp4": _mxfp4,
    "mxfp8": _mxfp8,
    "gptq": _integer,
    "awq": _integer,
    "auto-round": _integer,
    "intel/auto-round": _integer,
    "hqq": _hqq,
    "quanto": _by_name,
    "eetq": _by_name,
    "torchao": _by_name,
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
