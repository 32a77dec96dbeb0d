"""What is known of a model that nothing describes: a pass of it as it ran."""

from __future__ import annotations

from typing import Any

import msgspec


class RecordedPass(msgspec.Struct, frozen=True, kw_only=True):
    """One forward and backward pass of a module as it ran: what is known of a model that nothing describes.

    Attributes:
        ops: Its kernels, each a `counting.op.Op`.
        trainable: Parameters that take a gradient.
        peak_bytes: Largest sum of live tensors during the pass, parameters excluded.
        fused: The same as a compiler runs it; None: it is not known.
        compiled: Whether the module is given to a compiler.
    """

    ops: tuple[Any, ...]
    trainable: int
    peak_bytes: float
    fused: RecordedPass | None = None
    compiled: bool = False
