"""Software profiles as people read them: all in a line each, or one with its facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from ..config.stack import Fusion, Overlap, Stack
from ..result import plain
from .table import Shown, Table

FUSIONS: dict[str, str] = {
    "qkv": "queries, keys and values are one matmul",
    "gate_up": "so are gate and up",
    "norm": "a norm is one kernel",
    "activation": "activation, gate product and bias are one kernel",
    "residual": "bias, dropout and residual addition are one kernel",
    "residual_norm": "the residual addition is part of the next norm",
    "rotary": "rotary embedding is one kernel",
    "softmax": "scale, mask and softmax of unfused attention are one kernel",
    "cross_entropy": "the loss keeps no fp32 copy of the logits",
    "optimizer": "all parameters are updated by one kernel",
    "wgrad_accumulation": "weight-gradient matmuls add into the fp32 gradient",
    "attention_layout": "fused attention takes q, k and v without a copy",
    "cast": "a norm casts to low precision what it writes",
    "activation_cast": "so does an activation",
    "clamped_activation": "so is the clamped one of gpt-oss",
    "expert_bias": "biases of all experts are added by one kernel",
    "expert_weights": "a router's weights multiply in the experts' activation, whose outputs need not be kept",
    "expert_epilogue": "experts' matmuls activate and quantise what they write, under graphs of the whole iteration",
    "linear_cross_entropy": "head and loss run chunk by chunk of tokens",
    "adapter": "low-rank adapters are added in their matmuls, without a copy of the input",
    "padding": "ragged matmuls are padded to rows of 16 bytes",
}
OF_NOTES = {"name", "summary", "software", "source", "sources"}  # fields that stand above or below the table
IN_WORDS = {"fused", "overlap", "launch", "cast_weights", "releases"}
LAUNCHES = {"eager": "one framework call per kernel", "compiled": "generated code", "graph": "CUDA graph"}


def catalog(stacks: Sequence[Stack]) -> Shown:
    """All profiles, a line each."""
    rows = [[stack.name, stack.launch, len(stack.fused), stack.summary] for stack in stacks]
    table = Table("", ["stack", "launch", "fusions", "what it is"], rows)
    return Shown({"stacks": stacks}, [table], ["'roofline stacks STACK' shows one."])


def one(stack: Stack) -> Shown:
    """One profile, with its source."""
    known = f"Published runs call it: {', '.join(stack.software)}."
    notes = [f"Source: {stack.source}."] + ([known] if stack.software else [])
    return Shown(plain(stack), [one_table(stack)], notes)


def one_table(stack: Stack) -> Table:
    """One profile: every fact in words."""
    rows: list[list[Any]] = [["kernels are launched by", LAUNCHES[stack.launch], ""]]
    rows += [[FUSIONS.get(name, name), name in stack.fused, ""] for name in get_args(Fusion)]
    for name in Overlap.__struct_fields__:
        rows.append([f"{name} communication that can run beside compute", f"{getattr(stack.overlap, name):.0%}", ""])
    kept = "in fp32, cast at each use" if stack.cast_weights else "in 16 bits, beside an fp32 master copy"
    rows.append(["weights are kept", kept, stack.sources.get("cast_weights", "")])
    for each in stack.releases:
        if each.brought:
            rows.append([f"brought by release {each.release}", ", ".join(sorted(each.brought)), each.source])
        was = each.before.items()
        rows += [[f"{name.replace('_', ' ')} before {each.release}", value, each.source] for name, value in was]
    for name in stack.__struct_fields__:
        if name not in OF_NOTES | IN_WORDS:
            rows.append([name.replace("_", " "), _several(getattr(stack, name)), stack.sources.get(name, "")])
    return Table(f"{stack.name}: {stack.summary}", ["fact", "", "from"], rows, align="lll")


def _several(value: Any) -> Any:
    """Several values in a row; one as it is."""
    if isinstance(value, dict):
        value = tuple(f"{name} {each}" for name, each in value.items())
    if isinstance(value, frozenset):
        value = tuple(sorted(value))
    return (", ".join(value) or "none") if isinstance(value, tuple) else value
