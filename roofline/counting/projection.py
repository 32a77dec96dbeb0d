"""A projection as it is recorded: one matmul for the matrices of a kernel, and low-rank adapters beside a frozen one.

The notation is that of `layers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..arrays import Number, divide
from ..config.base import base_dtypes
from ..config.lora import adapters, are_units
from ..config.recompute import Module
from ..config.stack import Fusion
from ..model.tensors import Projection, joined_words
from . import kernels, traffic
from .kernels import Kernel
from .linear import Linear, record_linear
from .recorder import Tape
from .traffic import Passes
from .weights import Matrices

WIDE = 4  # bytes of an element of an adapter that is kept in fp32


def project(
    tape: Tape,
    parts: Sequence[Projection],
    rows: Number,
    *,
    tp: Number | None = None,
    count: Number | None = None,
    saves: Number = 0,
    made_by: Module | None = None,
    quantised_by: Fusion | None = None,
    quantises_gradient: bool = True,
    own_dtype: str | None = None,
    windows: float = 1.0,
) -> None:
    """The matrices of one kernel on this device, over `rows` tokens each, with the adapters beside them.

    Args:
        tape: What records.
        parts: The matrices; they read one input (see `projections`).
        rows: Rows of each of them.
        tp: How many devices share each matrix, where that is not the tensor parallelism of the layer.
        count: How many stand side by side, where that is not what the device holds (experts that tokens reach).
        saves: Bytes of input kept for backward that no earlier op keeps.
        made_by: The module that wrote the input.
        quantised_by: The fusion by which the kernel that wrote the input quantises it; None where none can.
        quantises_gradient: Whether the gradient of the output is quantised by a kernel of its own.
        own_dtype: What the matmul runs in, where that is not what the step does.
        windows: Rows that read an element of the input each (see `Linear`).
    """
    first, train = parts[0], tape.train
    sizes = [part.local(train.tp if tp is None else tp, train.ep) for part in parts]
    outputs = [d_out for _, d_out, _ in sizes]
    own, adapted = _adapters_of(tape, parts, outputs)
    m, k, batch = rows * first.runs, sizes[0][0], sizes[0][2] if count is None else count
    linear = Linear(
        first.kernel,
        m,
        k,
        sum(outputs),
        batch=batch,
        bias=sum(out for part, out in zip(parts, outputs, strict=True) if part.bias),
        saves=saves,
        made_by=made_by,
        low_precision=first.low_precision,
        quantised_by=quantised_by,
        quantises_gradient=quantises_gradient,
        own_dtype=own_dtype,
        windows=windows,
        adapted=own > 0 and not _copies_input(tape),
        stored=_stored_bytes(tape, first),
        matrices=tuple(Matrices(d_in, d_out, each if count is None else count) for d_in, d_out, each in sizes),
    )
    record_linear(tape, linear)
    if own:
        _adapter(tape, first.kernel, m, k, adapted, batch, own)


def kept_of_copies(tape: Tape, name: str, saves: Number, readers: int) -> Number:
    """Bytes kept of an input that lies otherwise, and that each of its `readers` copies first in code of its own."""
    if tape.fused("norm"):
        return saves
    copies = traffic.Passes(reads=1, writes=1, back_reads=0, back_writes=0, kernels=readers)
    tape.elementwise(f"{name}.copies", readers * saves / tape.es, copies, flops=0)
    return readers * saves


def _adapters_of(tape: Tape, parts: Sequence[Projection], outputs: Sequence[Number]) -> tuple[int, Number]:
    """Adapters of the matrices of one kernel and their outputs: frozen, in a layer, of the modules asked for."""
    if not (tape.lora_words and tape.frozen) or tape.part != "layer":
        return 0, 0
    tape.lora_known |= {word for part in parts for word in part.words} | set(joined_words(tuple(parts)))
    return adapters(tape.lora_words, parts, outputs)


def _stored_bytes(tape: Tape, projection: Projection) -> float | None:
    """Bytes of a weight of a projection where the frozen base is quantised, and this one is of a kind that is."""
    if tape.base is None or not tape.frozen or tape.part != "layer" or not projection.stored:
        return None
    if tape.routed and tape.leaves_experts:
        return None
    return tape.base.bytes_per_weight(projection.block, whole=0.0) or None


class Widths(msgspec.Struct, frozen=True):
    """Bytes of an element of adapters over those of an activation, and what they run in.

    Attributes:
        held: Of their weights, to which each casts its input.
        run: Of what their matmuls read and write: under autocast as wide as an activation.
        dtype: What their matmuls run in; None: what the step does.
    """

    held: float = 1.0
    run: float = 1.0
    dtype: str | None = None


def widths(tape: Tape) -> Widths:
    """How wide adapters are: as activations, or kept in fp32 by software that does so (`Stack.adapter_dtype`).

    Over a quantised base PEFT leaves what they read to autocast (huggingface/peft src/peft/tuners/lora/bnb.py, gptq.py
    and awq.py: ``requires_conversion``).
    """
    if tape.fused("adapter") or tape.stack.adapter_dtype == "model" or tape.es >= WIDE:
        return Widths()
    if tape.train.master_weights:
        return Widths() if tape.base is not None else Widths(held=WIDE / tape.es)
    return Widths(held=WIDE / tape.es, run=WIDE / tape.es, dtype="fp32")


def _copies_input(tape: Tape) -> bool:
    """Whether adapters keep inputs of their own (dropped, or cast) instead of the frozen projection's."""
    return bool(tape.train.lora_dropout) or widths(tape).held > 1


def _adapter(tape: Tape, name: str, m: Number, k: Number, n: Number, batch: Number, parts: int) -> None:
    """`parts` low-rank adapters beside a frozen projection: y += scale (x . a) . b, a [k, r], b [r, n / parts].

    arXiv:2106.09685, section 4.1. Fused (`adapter` of `stack.Fusion`) they run in the dtype of x and add in the
    epilogue of their matmul.
    """
    train, rank, wide = tape.train, tape.train.lora_rank or 0, widths(tape)
    elements, copies = parts * batch * m * k, _copies_input(tape)
    _inputs(tape, name, elements, wide)
    kept = batch * m * parts * rank * tape.es * wide.run
    how: dict[str, Any] = {"low_precision": False, "own_dtype": wide.dtype}
    tape.frozen = False
    saves = elements * tape.es * wide.run if copies else 0
    record_linear(tape, Linear(f"{name}.lora_a", m, k, parts * rank, batch=batch, saves=saves, **how))
    record_linear(tape, Linear(f"{name}.lora_b", m, rank, divide(n, parts), batch=batch * parts, saves=kept, **how))
    if train.lora_variant == "dora":
        _magnitude(tape, name, batch * m * n, batch * k * n, batch * n, rank)
    tape.frozen = True
    apart = tape.stack.launch == "eager" and not tape.fused("qkv")  # one adapter stands beside each matmul
    _add(tape, name, batch * m * n, wide, units=2 * parts if are_units(tape.train, tape.stack) else 0)
    _add_gradient(tape, name, batch * m * k, parts if copies or apart else 1)


def _inputs(tape: Tape, name: str, elements: Number, wide: Widths) -> None:
    """The input of each adapter cast to its dtype, dropped, and cast again under autocast: a kernel each in eager."""
    drops = bool(tape.train.lora_dropout)
    if tape.stack.launch == "compiled" or tape.fused("adapter"):
        if drops:
            back = 0 if tape.fused("adapter") else 1  # see `_add_gradient`
            chain = Passes(reads=1, writes=1 + tape.mask, back_reads=back * (1 + tape.mask), back_writes=back)
            tape.elementwise(f"{name}.lora_dropout", elements, chain, flops=2, saves=elements)
        return
    casts = [(1.0, wide.held)] if wide.held > 1 else []
    casts += [(wide.held, wide.run)] if wide.run < wide.held else []
    for narrow, other in casts:
        chain = Passes(reads=narrow, writes=other, back_reads=other, back_writes=narrow)
        tape.elementwise(f"{name}.lora_cast", elements, chain, flops=0)
    if drops:
        each = wide.held + tape.mask
        chain = Passes(reads=wide.held, writes=each, back_reads=each, back_writes=wide.held)
        tape.elementwise(f"{name}.lora_dropout", elements, chain, flops=2, saves=elements)


def _add_gradient(tape: Tape, name: str, elements: Number, times: int) -> None:
    """Dx of adapters added to that of the frozen weight, those of inputs of their own (`times` of them) one by one.

    Fused it is the addend of their last matmul; not so where the input was dropped: its zeros are found again and the
    product masked before it is added (github:foundation-model-stack/fms-acceleration plugins/fused-ops-and-kernels/src/
    fms_acceleration_foak/fused_ops/unsloth_lora/bnb/fast_lora.py).
    """
    if tape.fused("adapter") and not tape.train.lora_dropout:
        return
    reads, writes, each = (4 + tape.mask, 2 + tape.mask, 3) if tape.fused("adapter") else (2, 1, 1)
    chain = Passes(reads=times * reads, writes=times * writes, back_reads=0, back_writes=0, kernels=times * each)
    tape.op(f"{name}.lora_grad_add", "elementwise", "backward", kernels.chain(elements, chain, tape.es, 1))


def _add(tape: Tape, name: str, elements: Number, wide: Widths, units: Number) -> None:
    """Y plus the scaled product: in one kernel where compiled, else scaled, added and cast back by one each.

    A copy of y is made before where a layer of the quantised base asks for it (`BaseDtype.copied`).
    """
    run, back = wide.run, wide.run > 1
    if tape.fused("adapter"):  # y is the addend of the last matmul, and backward scales in its own
        dropped = bool(tape.train.lora_dropout)  # then it is added by a kernel, as gradients are
        chain = Passes(reads=1 + dropped, writes=dropped, back_reads=0, back_writes=0, kernels=dropped, back_kernels=0)
    elif tape.stack.launch == "compiled":
        chain = Passes(reads=2, writes=1, back_reads=1, back_writes=1)
    else:
        copied = tape.base is not None and base_dtypes()[tape.train.base_dtype or ""].copied
        chain = Passes(
            reads=copied + run + (1 + run) + run * back,
            writes=copied + 2 * run + back,
            back_reads=run + (1 + run) * back,
            back_writes=run + (run + 1) * back,
            kernels=copied + 2 + back,
            back_kernels=1 + 2 * back,
        )
    tape.elementwise(f"{name}.lora_add", elements, chain, flops=2, units=units)


def _magnitude(tape: Tape, name: str, y: Number, weights: Number, outputs: Number, rank: int) -> None:
    """DoRA's magnitude: y [m, n] scaled by one learned figure a column over the norm of W + scale a . b.

    arXiv:2402.09353, equation 5; the norm takes no gradient (section 4.3), but forms the whole [k, n] sum anew in each
    pass. The magnitude's gradient needs both terms of y.
    """
    tape.weight(f"{name}.magnitude", outputs)
    product = Kernel(
        flops=2 * rank * weights + 4 * weights,
        bytes_read=(traffic.DORA_NORM.reads * weights) * tape.es,
        bytes_written=(traffic.DORA_NORM.writes * weights) * tape.es,
        kernels=traffic.DORA_NORM.kernels,
    )
    tape.op(f"{name}.dora_norm", "elementwise", "forward", product)
    tape.elementwise(f"{name}.dora_scale", y, traffic.DORA_SCALE, flops=3, saves=2 * y * tape.es)
