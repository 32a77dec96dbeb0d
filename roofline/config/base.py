"""How a frozen base is stored under adapters: formats in `base_dtypes.toml`, or those of the checkpoint itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError, unknown
from ..model.spec import WHOLE, ModelConfig, Quantization
from ..reading import packaged, read_packaged
from .run import UPCASTS, TrainConfig
from .stack import Stack, load_stack

if TYPE_CHECKING:
    from ..hardware import Device

PLAIN = ("bf16", "fp16", "fp32")  # words for a base that is not quantised


class BaseDtype(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One format of frozen weights.

    Attributes:
        summary: One line.
        bits: Bits of a weight.
        block: Weights that share a scale; 0: so many that scales do not count.
        scale_bits: Bits of a scale, with its zero point.
        double_block: Scales that share a scale of their own where they are quantised in turn; 0: they never are.
        double_bits: Bits of such a quantised scale.
        int8_forward: Whether the forward pass multiplies integers; otherwise weights are dequantised for each matmul.
        copied: Whether adapters copy what its layers return before they add to it (huggingface/peft
            src/peft/tuners/lora/bnb.py Linear4bit.forward: "clone").
        returns_input_dtype: Whether its layers return the dtype they are given, whatever they compute in.
        made_whole: Whether ranks that read no checkpoint make the whole base on the device before it is sharded.
        library: Whose kernels run it.
        architectures: Those that have kernels.
        cpu: Whether CPUs have.
        source: Where the facts come from.
    """

    summary: str
    bits: float
    block: int = 0
    scale_bits: float = 0.0
    double_block: int = 0
    double_bits: float = 0.0
    int8_forward: bool = False
    copied: bool = False
    returns_input_dtype: bool = False
    made_whole: bool = False
    library: str
    architectures: tuple[str, ...]
    cpu: bool = False
    source: str

    def stored(self, name: str, *, double: bool) -> Quantization:
        """Bits, blocks and scales of a base in this format; scales are quantised as well where `double` says so."""
        scale = self.double_bits + 32 / self.double_block if double and self.double_block else self.scale_bits
        return Quantization(
            method=self.library, dtype=name, bits=self.bits, block=self.block, scale_bits=scale, whole=WHOLE
        )


@cache
def base_dtypes() -> Mapping[str, BaseDtype]:
    """All of them by name."""
    return read_packaged(packaged(__name__, "base_dtypes.toml"), dict[str, BaseDtype])


def base_dtype(name: str | None) -> BaseDtype | None:
    """One by name; None where none is named, or it is in 16 bits."""
    return None if not name or name in {"none", *PLAIN} else base_dtypes().get(name)


def base_words() -> tuple[str, ...]:
    """What ``--base-dtype`` takes."""
    return (*base_dtypes(), *PLAIN)


def base_of(train: TrainConfig, model: ModelConfig) -> Quantization | None:
    """How the frozen base is stored; None where it is in the dtype of the activations.

    A checkpoint in the format that is asked for has blocks of its own.
    """
    name = train.base_dtype or ""
    if base_dtype(name) is None:
        return None
    own = model.quantization
    if own is not None and checkpoint_word(own) == name and train.double_quant in {None, bool(doubled(own))}:
        return own
    return base_dtypes()[name].stored(name, double=bool(train.double_quant))


def leaves_experts(train: TrainConfig, stack: Stack, model: ModelConfig) -> bool:
    """Whether experts of a quantised base are in 16 bits (see `Stack.joined_experts`); a checkpoint's are as stored."""
    known = base_dtype(train.base_dtype)
    joined = known is not None and known.library == "bitsandbytes" and stack.joined_experts
    return joined and model.has_experts and base_of(train, model) != model.quantization


def upcast_of(train: TrainConfig, stack: Stack) -> str:
    """Which parameters of a quantised base are cast to fp32: as said, else what is usual."""
    return train.base_upcast or usual_upcast(train.base_dtype, train, stack)


def usual_upcast(base: str | None, train: TrainConfig, stack: Stack) -> str:
    """The same where nothing is said: what the stack casts of a base that is whole on each device."""
    known = base_dtype(base)
    if known is None or not known.returns_input_dtype or train.shards_parameters:
        return UPCASTS[0]
    return stack.base_upcast


def hands_out_fp32(train: TrainConfig, stack: Stack, model: ModelConfig) -> bool:
    """Whether norms give fp32 to a quantised base whose projections return what they are given: the stream is fp32.

    Eager RMS norms multiply by their weight, fp32 where it is upcast (`TrainConfig.base_upcast`), and fused ones write
    the dtype they read; autocast runs layer norms in fp32 (docs.pytorch.org/docs/stable/amp.html, ops that autocast to
    float32).
    """
    known = base_dtype(train.base_dtype)
    if known is None or not known.returns_input_dtype or train.activation_bytes >= 4:
        return False
    upcast = upcast_of(train, stack) != UPCASTS[0] and "norm" not in stack.fused
    layer = stack.cast_weights and train.master_weights
    kinds = {norm.kind for group in model.groups for norm in group.norms}
    return (upcast and "rms" in kinds) or (layer and "layer" in kinds)


def checkpoint_word(stored: Quantization) -> str | None:
    """The word of ``--base-dtype`` for weights as a checkpoint has them; None where adapters do not train over them."""
    if stored.method in base_dtypes():  # gptq, awq
        return stored.method
    return stored.dtype if stored.method == "bitsandbytes" else None


def doubled(stored: Quantization) -> bool | None:
    """Whether the scales of a checkpoint are quantised as well; None where they never are."""
    known = base_dtypes().get(stored.dtype)
    return stored.scale_bits < known.scale_bits if known is not None and known.double_block else None


def of_checkpoint(model: ModelConfig, given: Mapping[str, Any]) -> dict[str, Any]:
    """How to train a checkpoint of quantised weights where nothing is said: adapters over them as they are.

    Raises:
        RooflineError: All weights are to be trained, and those of the checkpoint take no gradient.
    """
    word = None if model.quantization is None else checkpoint_word(model.quantization)
    if model.quantization is None or word is None or given.get("base_dtype") is not None:
        return {}
    if given.get("train") == "full":
        raise RooflineError(
            f"train 'full' of {model.name}: the {word} weights of its checkpoint take no gradient: use --train qlora, "
            "or --base-dtype bf16 to train dequantised weights"
        )
    found = {"train": "qlora", "base_dtype": word, "double_quant": doubled(model.quantization)}
    return {name: value for name, value in found.items() if value is not None and given.get(name) is None}


def base_notes(model: ModelConfig, train: TrainConfig) -> tuple[str, ...]:
    """A sentence where weights of a checkpoint are not kept as quantised, or experts of a base are not quantised."""
    own, stack = model.quantization, load_stack(train.stack)
    if leaves_experts(train, stack, model):
        held = train.kept_dtype if upcast_of(train, stack) == UPCASTS[0] else "fp32 (--base-upcast)"
        where = f"{train.stack} has those of a layer in one parameter, which bitsandbytes does not quantise"
        return (f"experts stay in {held}: {where} (--stack unsloth does)",)
    if own is None or base_of(train, model) == own:
        return ()
    if train.base_dtype is not None:
        return (f"the {own.dtype} weights of the checkpoint are taken as {train.base_dtype}",)
    return (f"the {own.dtype} weights of the checkpoint are counted in {train.compute_dtype}, dequantised",)


def check_base(device: Device, name: str | None) -> None:
    """Refuse a format without kernels on a device.

    Raises:
        RooflineError: There are none; the formats that have some are named.
    """
    if name is None or name in {"none", *PLAIN}:
        return
    if base_dtype(name) is None:
        raise unknown("base dtype", name, base_words())
    if _runs(base_dtypes()[name], device):
        return
    others = [other for other, kind in base_dtypes().items() if _runs(kind, device)]
    instead = f"use {', '.join(others)}, or --train lora" if others else "use --train lora with a base in 16 bits"
    raise RooflineError(
        f"base_dtype {name}: {base_dtypes()[name].library} has no kernels for it on {device.id} "
        f"({device.family.name}): {instead}"
    )


def _runs(kind: BaseDtype, device: Device) -> bool:
    return kind.cpu if device.kind == "cpu" else device.architecture in kind.architectures
