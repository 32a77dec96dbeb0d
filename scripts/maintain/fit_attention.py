"""Fused attention timings: forward, backward, or both in one figure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from fitting import Array, Case, Range, Sample, held_out

from roofline.counting.op import Op
from roofline.hardware import Device, load_device
from roofline.timing import kernel as timing

FORWARD: dict[str, Range] = {
    "cap": (0.6, 0.2, 1),
    "t0_us": (5, 0, 12),
    "tile_us": (4, 0, 30),
    "softmax_dim": (15, 0, 80),
}
# Only figures of forward and backward together exist for it; the paper states the forward a third faster than
# the backward (30-50 % against 25-35 % of peak on A100, arXiv:2307.08691): the forward cap is held there.
FIRST: dict[str, Range] = {
    "cap": (0.35, 0.34, 0.36),
    "cap_backward": (0.25, 0.1, 0.45),
    "tile_us": (4, 1, 10),
    "tile_backward_us": (8, 2, 20),
}
MEASUREMENTS = Path(__file__).parents[2] / "hardware" / "measurements"
BACKWARD: dict[str, Range] = {"cap_backward": (0.5, 0.1, 1), "tile_backward_us": (8, 0, 60)}


def attention_op(rows: pd.DataFrame, phase: str) -> Op:
    """One op per row; a causal kernel executes half of the scores, backward has 2.5 times the FLOPs."""
    batch, heads, kv, seq, dim = (
        rows[c].to_numpy(float) for c in ("batch", "heads_q", "heads_kv", "seqlen", "head_dim")
    )
    backward = phase == "backward"
    flops = 4 * batch * heads * seq**2 * dim * np.where(rows.causal == 1, 0.5, 1.0) * (2.5 if backward else 1.0)
    query, keys = 2 * batch * seq * heads * dim, 2 * batch * seq * kv * dim  # bytes of 16-bit elements
    read, written = (3 * query + 2 * keys, query + 2 * keys) if backward else (query + 2 * keys, query)
    return Op(
        name="attention.core",
        kind="attention",
        phase="backward" if backward else "forward",
        part="layer",
        dtype="bf16",
        flops=flops,
        bytes_read=read,
        bytes_written=written,
        shape=(batch, heads, seq, seq, dim),
    )


def attention_sample(rows: pd.DataFrame, target: str, kernel: str, *, weight: float, hold: bool = False) -> Sample:
    """Rows of one implementation; `weight` is the weight of all of them together."""
    forward, backward = attention_op(rows, "forward"), attention_op(rows, "backward")
    does_forward = rows.direction.str.contains("fwd").to_numpy(float)
    does_backward = rows.direction.str.contains("bwd").to_numpy(float)

    def predict(device: Device) -> Array:
        there = timing.expected_time(forward, device, attention=kernel)
        back = timing.expected_time(backward, device, attention=kernel)
        return np.asarray(there * does_forward + back * does_backward)

    device = load_device(target)
    busy = np.asarray(forward.flops) / device.peak_flops_per_s("bf16")
    dim, causal = rows.head_dim.to_numpy(), rows.causal.to_numpy() == 1
    regimes = {
        "large": busy >= 1e-4,
        "medium": (busy >= 1e-5) & (busy < 1e-4),
        "small": busy < 1e-5,
        "d64": dim <= 80,
        "d128": dim == 128,
        "d256": dim == 256,
        "causal": causal,
        "full": ~causal,
    }
    weights = np.where(busy >= 1e-4, 1.0, np.where(busy >= 1e-5, 0.3, 0.05))
    weights = weights * weight / weights.sum()
    hidden = held_out(rows.seqlen, rows.batch, rows.heads_q) if hold else np.zeros(len(rows), bool)
    sources = "; ".join(sorted(set(rows.source)))
    return Sample(device, predict, rows.time_us.to_numpy() * 1e-6, weights, regimes, hidden, sources)


def own_rows() -> pd.DataFrame:
    """Attention kernels of `hardware/measurements`, in the columns of the folder's table; `impl` is our kernel."""
    tables = [pd.read_csv(path) for path in sorted(MEASUREMENTS.glob("*.csv"))]
    rows = pd.concat(tables)
    rows = rows[rows.kernel.str.startswith("attention")]
    batch, heads, sequence, dim = rows["shape"].str.split("x", expand=True).astype(float).T.to_numpy()
    return pd.DataFrame(
        {
            "device": rows.device,
            "impl": rows.note,
            "dtype": rows.dtype,
            "direction": rows.kernel.map({"attention": "fwd", "attention.backward": "bwd"}),
            "causal": 1,
            "batch": batch,
            "seqlen": sequence,
            "heads_q": heads,
            "heads_kv": heads,
            "head_dim": dim,
            "time_us": rows.time_us,
            "source": "hardware/measurements/" + rows.device + ".csv",
        }
    )


def attention_cases(folder: Path) -> Iterable[Case]:
    """One table per kernel generation; serving kernels help where a generation has few training figures."""
    rows = pd.concat([pd.read_csv(folder / "attention_measured.csv"), own_rows()])
    rows = rows[rows.time_us.notna() & ~rows.dtype.str.contains("fp8")]

    def sample(
        device: str,
        kernel: str,
        source: str,
        target: str,
        name: str,
        weight: float = 30.0,
        *,
        hold: bool = False,
    ) -> Sample:
        chosen = (rows.device == device) & (rows.impl == kernel) & rows.source.str.contains(source)
        return attention_sample(rows[chosen], target, name, weight=weight, hold=hold)

    a100, h100, b200 = "A100-SXM4-80GB", "H100-SXM-80GB", "B200-SXM"
    both = FORWARD | BACKWARD
    figures = "flash2_a100|Azure"
    yield Case(
        "ampere",
        "attention.flash1",
        FIRST,
        [sample(a100, "FlashAttention", figures, "a100-sxm-80gb", "flash1")],
    )
    yield Case(
        "ampere",
        "attention.flash2",
        both,
        [
            sample(a100, "FlashAttention-2", figures, "a100-sxm-80gb", "flash2", 60),
        ],
        (sample(a100, "vllm_flash_attn", "aic", "a100-sxm-80gb", "flash2"),),  # a serving kernel, paged
    )
    te = [sample("A100-PCIe-80GB", "TE fused attn (cuDNN/FA)", "SimuMax", "a100-pcie-80gb", "te")]
    yield Case("ampere", "attention.te", {"cap": (0.6, 0.2, 1), "cap_backward": (0.5, 0.1, 1)}, te)
    yield Case(
        "hopper",
        "attention.flash1",
        FIRST | {"cap": (0.19, 0.18, 0.2)},  # the same kernel, at half the share of peak
        [sample(h100, "FlashAttention", "flash2_h100", "h100-sxm-80gb", "flash1")],
    )
    yield Case(
        "hopper",
        "attention.flash2",
        both,
        [
            sample(h100, "FlashAttention-2", "flash2_h100|flash3|FA3|Azure", "h100-sxm-80gb", "flash2"),
            sample("h100-sxm-80gb", "flash2", "measurements", "h100-sxm-80gb", "flash2"),
        ],
    )
    yield Case(
        "hopper",
        "attention.flash3",
        both,
        [
            sample(h100, "FlashAttention-3", "flash3|FA3|pytorch", "h100-sxm-80gb", "flash3", 60),
            sample(h100, "vllm_flash_attn_fa3", "aic", "h100-sxm-80gb", "flash3", 30, hold=True),
        ],
        (sample("H200-SXM", "vllm_flash_attn_fa3", "aic", "h200-sxm-141gb", "flash3"),),
    )
    yield Case(
        "hopper",
        "attention.te",
        both,
        [
            sample(h100, "cuDNN", "flash3|FA3", "h100-sxm-80gb", "te"),
            sample("h100-sxm-80gb", "te", "measurements", "h100-sxm-80gb", "te"),
        ],
    )
    yield Case(
        "blackwell",
        "attention.te",
        both,
        [
            sample(b200, "TE fused attn (cuDNN/FA)", "SimuMax", "b200-sxm", "te", 60),
            sample(b200, "vllm_flashinfer_trtllmprefill", "aic", "b200-sxm", "te", 20, hold=True),
        ],
        (sample("GB200", "vllm_flashinfer_trtllmprefill", "aic", "gb200", "te"),),
    )
    yield Case(
        "ada",
        "attention.flash2",
        FORWARD,
        [sample("L40S", "vllm_flash_attn_fa2", "aic", "l40s", "flash2", hold=True)],
    )
    server = "rtx-pro-6000-blackwell-server"
    yield Case(
        "blackwell-rtx",
        "attention.flash2",
        FORWARD,
        [sample("RTX-PRO-6000-Server", "vllm_flash_attn_fa2", "aic", server, "flash2", hold=True)],
    )
