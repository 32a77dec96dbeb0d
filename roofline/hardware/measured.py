"""Measured efficiencies: what kernels and links really reach, as constants with their evidence.

The tables are data: a device's own ``[measured]`` tables lie over its architecture's, which lie over
`architectures/default.toml`. They merge key by key, so a device for which only the attainable peak was
measured states just that; the rest keeps its parent's figure, and the merged entry names both sources.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .errors import HardwareError

if TYPE_CHECKING:
    from .ranges import Problem

Origin = Literal["device", "architecture", "default"]

MICROSECOND = 1e-6


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of constants, where it was measured, and how well it reproduces that.

    Attributes:
        source: The public measurements the constants are fitted to, or "assumes ...".
        origin: The most specific layer that supplied a figure: device, architecture or default.
        rows: Measured rows behind the fit.
        mape: Mean absolute percentage error of the fit over those rows, in percent.
    """

    source: str
    origin: Origin = "default"
    rows: int | None = None
    mape: float | None = None


class Gemm(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Matrix multiplication: ``t0 + ((waste FLOPs / (cap peak))^p + (bytes / (bandwidth BW))^p)^(1/p)``.

    Attributes:
        cap: Attainable fraction of the dense peak on large shapes.
        bandwidth: Attainable fraction of the memory bandwidth.
        t0_us: Time of an empty kernel in a stream of kernels.
        p: Sharpness of the passage from memory-bound to compute-bound.
        k_half: Depth k at which filling and draining the pipeline costs as much as the main loop.
        quantisation: Weight of whole waves of tiles: 1 where a partly filled last wave costs a full one, 0
            where work is spread evenly (persistent and stream-K kernels).
        small_tile: Exponent of the loss of a tile with less reuse than 256 x 128.
        wgrad: Time of the weight gradient (float32 accumulation into the gradient) relative to the forward.
        misaligned: Time relative to an aligned shape where n or k is no multiple of 8 elements (16 bytes).
        misaligned_odd: The same where one of them is odd: elements are fetched one by one.
        tile: Columns (and, of a weight gradient, rows) of a tile of a grouped matmul: whole ones are computed.
        rows_half: Rows per expert of a grouped matmul at which half the time goes to tiles that are not filled.
        misaligned_batch: The same for strided batched matmuls (unfused attention), which leave the matrix
            engines.
    """

    cap: float
    bandwidth: float
    t0_us: float
    p: float
    k_half: float = 0.0
    quantisation: float = 0.0
    small_tile: float = 0.3
    wgrad: float = 1.0
    misaligned: float = 1.0
    misaligned_odd: float = 1.0
    misaligned_batch: float = 1.0
    tile: float = 1.0
    rows_half: float = 0.0

    @property
    def t0(self) -> float:
        """Time of an empty kernel, in seconds."""
        return self.t0_us * MICROSECOND


class Attention(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fused attention: ``t0 + waves (tile FLOPs / rate + tile time)``, forward and backward.

    Attributes:
        cap: Attainable fraction of the dense peak, forward, for long sequences and wide heads.
        cap_backward: The same, backward.
        t0_us: Time of an empty kernel.
        tile_us: Fixed time per tile of 128 queries, forward.
        tile_backward_us: Fixed time per tile of 128 keys, backward.
        softmax_dim: Head dimensions' worth of matmul time that the exponential of one score costs (forward:
            two matmuls per score; backward spreads it over five).
        head_multiple: Head dimensions are padded up to a multiple of this.
        bandwidth: Attainable fraction of the memory bandwidth.
    """

    cap: float
    cap_backward: float
    t0_us: float
    tile_us: float
    tile_backward_us: float
    softmax_dim: float = 0.0
    head_multiple: int = 32
    bandwidth: float = 0.75

    @property
    def t0(self) -> float:
        """Time of an empty kernel, in seconds."""
        return self.t0_us * MICROSECOND


class MemoryBound(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kernel that streams memory: ``t0 + bytes / (bandwidth * BW)``.

    Attributes:
        bandwidth: Attainable fraction of the memory bandwidth; above 1 on a CPU whose caches serve the later
            passes of a kernel over one operand.
        t0_us: Time of an empty kernel in a stream of kernels.
    """

    bandwidth: float
    t0_us: float

    @property
    def t0(self) -> float:
        """Time of an empty kernel, in seconds."""
        return self.t0_us * MICROSECOND


class Collective(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """n ranks in one domain: ``alpha(n) + traffic / (eta(n) BW) + ramp(n) (1 - exp(-S / (n s0)))``.

    Attributes:
        alpha_us: Latency at two ranks.
        alpha_rank_us: Latency added by each further rank.
        eta: Attainable fraction of the one-way link bandwidth, many ranks.
        few_ranks: Loss of `eta` at few ranks: ``eta(n) = eta * (1 - few_ranks / n)``.
        mesh: Devices of a full mesh without a switch: n ranks use ``(n - 1) / (mesh - 1)`` of the links.
        shared: Exponent of the loss where ranks share a root complex: ``eta(n) ~ (2 / n)^shared``.
        gb_per_s: Rate of the host's own that bounds what the link gives (staging through host memory), per device.
        ramp_us: Time lost by large messages at two ranks.
        ramp_rank_us: Time lost added by each further rank.
        ramp_mb: Payload per rank (s0) over which that loss builds up.
        switch_eta: Attainable fraction where the switch reduces (NVLS); absent where it cannot.
    """

    alpha_us: float
    alpha_rank_us: float
    eta: float
    few_ranks: float = 0.0
    mesh: int | None = None
    shared: float = 0.0
    gb_per_s: float | None = None
    ramp_us: float = 0.0
    ramp_rank_us: float = 0.0
    ramp_mb: float = 5.0
    switch_eta: float | None = None


class Network(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part between k domains: ``alpha(k) + traffic / (eta NIC) + ramp (1 - exp(-traffic / s0))``.

    Attributes:
        alpha_us: Latency between two domains.
        alpha_step_us: Latency added by each doubling of the domains.
        eta: Attainable fraction of a device's one-way share of the network, in rings.
        eta_pairs: The same for messages between pairs (send_recv, all_to_all).
        ramp_us: Time lost by large messages.
        ramp_mb: Traffic per device (s0) over which that loss builds up.
    """

    alpha_us: float
    alpha_step_us: float
    eta: float
    eta_pairs: float
    ramp_us: float = 0.0
    ramp_mb: float = 10.0


class Sustained(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rates in long training runs relative to the short benchmarks behind the other constants.

    Clocks fall at the power limit when matmuls follow one another for hours.

    Attributes:
        compute: Matrix rate, at most 1.
        compute_16bit: The same in fp16 and bf16, where they draw more power than narrower dtypes; None: as `compute`.
    """

    compute: float
    compute_16bit: float | None = None

    def rate(self, dtype: str) -> float:
        """The matrix rate of a dtype."""
        own = self.compute_16bit if dtype in {"fp16", "bf16"} else None
        return self.compute if own is None else own


class Launch(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Host time per kernel: the device waits where its kernels are shorter.

    Attributes:
        eager_us: One framework operation launched from Python.
        compiled_us: One kernel launched from compiled host code.
        graph_us: One kernel of a recorded graph.
        slowdown: Host time over the usual, of software's own too: above 1 on a slow or busy host.
    """

    eager_us: float
    compiled_us: float
    graph_us: float
    slowdown: float = 1.0


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every measured efficiency of one device, by kind of kernel.

    Attributes:
        gemm: Matmul on matrix engines in 16-bit dtypes and tf32.
        gemm_fp8: Matmul in 8-bit dtypes.
        gemm_fp4: Matmul in 4-bit dtypes.
        gemm_fp32: Matmul on the vector units (fp32, fp64).
        grouped_gemm: Matmuls of one shape in one launch (experts).
        attention: By kernel: flash1, flash2, flash3, te.
        memory_bound: By class: elementwise, normalization, softmax, embedding, optimizer.
        collective: Inside a scale-up domain (NVLink, xGMI, ICI): all_reduce, all_gather, reduce_scatter,
            all_to_all, send_recv.
        network: Between domains.
        launch: Host time per kernel.
        sustained: Rate of long runs relative to short benchmarks.
    """

    gemm: Gemm
    gemm_fp8: Gemm
    gemm_fp4: Gemm
    gemm_fp32: Gemm
    grouped_gemm: Gemm
    attention: dict[str, Attention]
    memory_bound: dict[str, MemoryBound]
    collective: dict[str, Collective]
    network: Network
    launch: Launch
    sustained: Sustained

    def matmul(self, dtype: str) -> Gemm:
        """The constants of a plain matmul in `dtype`."""
        return getattr(self, _GEMM_TABLES.get(dtype, "gemm"))


_GEMM_TABLES = {
    "fp8": "gemm_fp8",
    "int8": "gemm_fp8",
    "fp4": "gemm_fp4",
    "mxfp8": "gemm_fp8",
    "nvfp4": "gemm_fp4",
    "fp32": "gemm_fp32",
    "fp64": "gemm_fp32",
}
VECTOR_KINDS = ("elementwise", "normalization", "softmax", "embedding", "optimizer")  # kernels without matrix products
_KEYED: dict[str, tuple[str, ...]] = {
    "attention": ("flash1", "flash2", "flash3", "te"),
    "memory_bound": VECTOR_KINDS,
    "collective": ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"),
}


def _merge_entry(
    parent: Mapping[str, Any] | None, own: Mapping[str, Any], origin: Origin, place: str
) -> dict[str, Any]:
    """One table over its parent's: own figures win, and the source says who supplied what."""
    _require_table(own, place)
    if "source" not in own:
        raise HardwareError(f"{place}: no source; every measured table names its evidence")
    merged = dict(own)
    kept = {k: v for k, v in (parent or {}).items() if k not in own and k not in {"origin", "rows", "mape"}}
    if kept and parent is not None:
        merged["source"] = f"{own['source']} ({', '.join(k for k in kept)}: {parent['source']})"
        merged = {**kept, **merged}
    merged["origin"] = origin
    return merged


def _require_table(value: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        raise HardwareError(f"{place} = {value!r}: expected a table of figures")


def _merge_group(group: dict[str, Any], name: str, own: Mapping[str, Any], origin: Origin) -> Mapping[str, Any]:
    """Tables by kernel over their parents'; a kernel that does not exist is an error."""
    place = f"measured.{name}"
    _require_table(own, place)
    for key, entry in own.items():
        if key not in _KEYED[name]:
            from .schema import unknown_key

            raise HardwareError(unknown_key(place, key, _KEYED[name]))
        group[key] = _merge_entry(group.get(key), entry, origin, f"{place}.{key}")
    return group


def merge(layers: Iterable[tuple[Origin, Mapping[str, Any]]]) -> Measured:
    """Lay ``[measured]`` tables over one another, the most general first.

    Raises:
        HardwareError: A table has no source, an unknown key or a value of the wrong type, or is missing.
    """
    tables: dict[str, Any] = {}
    for origin, layer in layers:
        for name, own in layer.items():
            if name in _KEYED:
                tables[name] = _merge_group(tables.get(name, {}), name, own, origin)
            else:
                tables[name] = _merge_entry(tables.get(name), own, origin, f"measured.{name}")
    try:
        return msgspec.convert(tables, Measured)
    except msgspec.ValidationError as error:
        from .schema import mistake

        raise HardwareError(mistake(tables, Measured, "measured") or f"measured: {error}") from error


def range_problems(measured: Measured, *, cpu: bool) -> Iterator["Problem"]:
    """Every measured figure outside its range; a CPU's memory-bound kernels may beat its memory."""
    from .ranges import CACHED, MEASURED, Problem

    for name in measured.__struct_fields__:
        value = getattr(measured, name)
        for key, entry in value.items() if isinstance(value, dict) else [("", value)]:
            place = f"measured.{name}.{key}".rstrip(".")
            for field in entry.__struct_fields__:
                allowed = CACHED if cpu and (name, field) == ("memory_bound", "bandwidth") else MEASURED.get(field)
                figure = getattr(entry, field)
                if allowed is not None and figure is not None and figure not in allowed:
                    yield Problem(f"{place}.{field}", figure, str(allowed))
