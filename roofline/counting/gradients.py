"""What autograd does where gradients meet: adds those of a tensor that several read, joins those of views of a product.

Each takes a kernel in eager code; a compiler does it in the kernel behind.
"""

from __future__ import annotations

from ..arrays import Number
from . import kernels
from .recorder import Tape
from .traffic import Passes


def add_gradients(tape: Tape, name: str, elements: Number, readers: int) -> None:
    """Gradients of `elements` from each of their `readers`, one added to the next: n - 1 sums of n."""
    sums = readers - 1
    if sums and tape.input_needs_grad and _apart(tape):
        chain = Passes(reads=2 * sums, writes=sums, back_reads=0, back_writes=0, kernels=sums)
        kernel = kernels.chain(elements, chain, _handed_on(tape), sums)
        tape.op(f"{name}.grad_add", "elementwise", "backward", kernel)


def cast_inputs(tape: Tape, name: str, elements: Number, readers: int) -> None:
    """What norms hand on in fp32 (under autocast, or over a quantised base) cast by all matmuls that read it but one.

    The cast of the first is counted with the norm or the matmul.
    """
    more, wide = readers - 1, _handed_on(tape) / tape.es
    if more and wide > 1 and _apart(tape):
        chain = Passes(
            reads=more * wide,
            writes=more,
            back_reads=more,
            back_writes=more * wide,
            kernels=more,
            back_kernels=more,
        )
        tape.elementwise(f"{name}.cast_again", elements, chain, flops=0)


def join_gradients(tape: Tape, name: str, elements: Number, slices: int = 1) -> None:
    """Gradients of parts that are views of one product of `elements`, put together for its matmuls.

    A product that is split has them copied side by side; of several `slices` each is put into zeros of the whole, and
    these are added.
    """
    if tape.stack.launch != "eager" or (tape.frozen and not tape.input_needs_grad):
        return
    sums, zeros = slices - 1, slices if slices > 1 else 0
    launches = zeros + slices + sums
    chain = Passes(reads=1 + 2 * sums, writes=1 + sums + zeros, back_reads=0, back_writes=0, kernels=launches)
    tape.op(f"{name}.grad_join", "elementwise", "backward", kernels.chain(elements, chain, tape.es, sums))


def _apart(tape: Tape) -> bool:
    """Whether readers are kernels of their own; fused adapters add to what the matmul before wrote."""
    return tape.stack.launch == "eager" and not (tape.fused("adapter") and tape.train.adapts)


def _handed_on(tape: Tape) -> int:
    """Bytes of an element of what a norm writes."""
    return tape.es if tape.fused("norm") else tape.stream_es
