"""What a profile says: attributes are the JSON keys of ``roofline profile``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import pandas as pd


class MeasuredOp(msgspec.Struct, frozen=True, kw_only=True):
    """An operator with one set of shapes in one phase: sums over all its runs in the steps.

    Attributes:
        name: As in the trace: ``aten::mm``; of a collective, its name in our words.
        kind: matmul, attention, normalization, softmax, elementwise, embedding, optimizer, collective or other.
        phase: forward, backward, recompute or optimizer.
        dtype: The dtype it ran in, where matrix engines know it.
        shapes: Of its tensors.
        count: Runs.
        time_s: Kernel time, summed.
        flops: FLOPs, summed; None where no rule knows the operator or an input is not recorded.
        bytes: Device-memory traffic, of a collective its payload; summed.
        expected_time_s: What we expect of these runs; None without a device or a rule.
        ideal_time_s: The same at the datasheet's peak and bandwidth.
        model_flops: FLOPs that count as the model's.
        matmul: (m, n, k, batch) of a matmul; (batch, heads, seq_q, seq_kv, head_dim) of attention.
        kernels: Names of its kernels, the longest first.
        strided: Whether an operand is not contiguous.
    """

    name: str
    kind: str
    phase: str
    dtype: str | None
    shapes: tuple[tuple[int, ...], ...]
    count: int
    time_s: float
    flops: float | None
    bytes: float | None
    expected_time_s: float | None
    ideal_time_s: float | None
    model_flops: float | None = None
    matmul: tuple[int, ...] | None = None
    kernels: tuple[str, ...] = ()
    strided: bool = False

    @property
    def gap_s(self) -> float | None:
        """Measured minus expected."""
        return None if self.expected_time_s is None else self.time_s - self.expected_time_s

    @property
    def ratio(self) -> float | None:
        """Measured over expected."""
        return self.time_s / self.expected_time_s if self.expected_time_s else None


class UnattributedKernel(msgspec.Struct, frozen=True, kw_only=True):
    """Kernels known by name alone."""

    name: str
    kind: str
    why: str
    count: int
    time_s: float


class MeasuredCollective(msgspec.Struct, frozen=True, kw_only=True):
    """Collectives of one kind, payload and group; on one rank a duration includes waiting for the slowest."""

    collective: str
    payload_bytes: int | None
    group_size: int | None
    group: str
    assumed: bool
    count: int
    time_s: float
    exposed_s: float
    shortest_s: float
    median_s: float
    bus_bandwidth_bytes_per_s: float | None  # of the shortest
    expected_time_s: float | None  # of all


class MeasuredStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step on the device."""

    name: str
    time_s: float
    busy_s: float
    kernels: int
    terms: dict[str, float]
    last: bool


class RankSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One rank beside the others: times per step."""

    file: str
    rank: int | None
    step_time_s: float
    compute_s: float
    communication_s: float
    waiting_s: float | None  # for others in collectives; None with one rank
    host: str = ""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over everything in the file, steps or not."""

    events: int
    kernels: int
    kernel_time_s: float
    busy_s: float
    span_s: float
    nccl_kernels: int
    nccl_time_s: float
    nccl_exposed_s: float
    streams: dict[str, int]
    leading_kernels: int
    leading_time_s: float


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A trace beside what we expect; attributes are the JSON keys of ``roofline profile``."""

    files: tuple[str, ...]
    device: Any
    device_name: str
    steps: tuple[MeasuredStep, ...]
    steps_are: str
    step_time_s: float
    terms: dict[str, float]
    ops: tuple[MeasuredOp, ...]
    unattributed: tuple[UnattributedKernel, ...]
    collectives: tuple[MeasuredCollective, ...]
    ranks: tuple[RankSummary, ...]
    world_size: int | None
    totals: Totals
    kernel_time_s: float
    attributed_share: float
    linked_share: float
    dtype: str | None
    model_flops_per_step: float | None
    mfu: float | None
    mfu_rule: str
    peak_allocated_bytes: int | None
    after_synchronization_s: float
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The answer in one line."""
        from ..units import format_number, format_share, format_time

        mfu = "" if self.mfu is None else f", MFU {format_share(self.mfu)}"
        share = format_share(self.attributed_share)
        return (
            f"<Profile of {format_number(len(self.steps), 'step')} on {self.device_name or 'an unnamed device'}: "
            f"{format_time(self.step_time_s)} a step{mfu}, {share} of kernel time attributed>"
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object that ``roofline profile --format json`` prints, in base units."""
        found = {name: getattr(self, name) for name in self.__struct_fields__ if name != "device"}
        found["device"] = None if self.device is None else self.device.id
        return found

    def to_frame(self) -> pd.DataFrame:
        """The ops as a pandas frame, the costliest first."""
        import pandas as pd

        return pd.DataFrame([msgspec.structs.asdict(op) for op in self.ops])
