"""Matmul timings: which rows fit which table, and which are kept to check it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from fitting import Case, Range, Sample, held_out

from roofline.counting.op import Form, Op
from roofline.hardware import load_device
from roofline.timing import kernel

WIDTH = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8": 1, "fp4": 0.5}


def gemm_sample(
    rows: pd.DataFrame,
    device_id: str,
    dtype: str,
    *,
    weight: float = 100.0,
    form: Form = "dense",
    hold: bool = True,
) -> Sample:
    """Matmul rows (m, n, k, batch) of one device, with equal timings of one shape averaged over harnesses."""
    rows = rows.assign(log=np.log(rows.time_us))
    rows = rows.groupby(["M", "N", "K", "batch"], as_index=False).agg(log=("log", "mean"), source=("source", "first"))
    device = load_device(device_id)
    m, n, k, batch = (rows[c].to_numpy(float) for c in ("M", "N", "K", "batch"))
    width = WIDTH[dtype]
    out = 4 if dtype == "fp32" else 2
    op = Op(
        name="mlp.up",
        kind="matmul",
        form=form,
        phase="forward",
        part="layer",
        dtype=dtype,
        flops=2 * m * n * k * batch,
        bytes_read=width * batch * (m * k + k * n),
        bytes_written=out * batch * m * n,
        shape=(m, n, k, batch),
    )
    ideal = np.asarray(kernel.ideal_time(op, device))
    compute = np.asarray(op.flops) / device.peak_flops_per_s(dtype)
    bound = compute >= ideal
    regimes = {
        "train": (np.minimum(np.minimum(m, n), k) >= 1024),
        "large": bound & (ideal >= 1e-4),
        "medium": bound & (ideal >= 2e-5) & (ideal < 1e-4),
        "small": bound & (ideal >= 5e-6) & (ideal < 2e-5),
        "skinny": ~bound & (ideal >= 5e-6),
        "tiny": ideal < 5e-6,
    }
    weights = np.where(ideal >= 2e-5, 1.0, 0.3)
    weights = weights * weight / weights.sum()
    sources = "; ".join(sorted(set(rows.source)))
    hidden = held_out(rows.N, rows.K) if hold else np.zeros(len(rows), bool)
    return Sample(
        device,
        lambda d: np.asarray(kernel.expected_time(op, d)),
        np.exp(rows.log.to_numpy()) * 1e-6,
        weights,
        regimes,
        hidden,
        sources,
    )


GEMM: dict[str, Range] = {
    "cap": (0.8, 0.3, 1),
    "bandwidth": (0.8, 0.3, 1),
    "t0_us": (3, 0, 30),
    "p": (2.5, 1, 10),
    "k_half": (50, 0, 500),
}
RAGGED: dict[str, Range] = {"misaligned": (1.05, 1, 2)}
WAVES: dict[str, Range] = {"quantisation": (0.5, 0, 1), "small_tile": (0.3, 0, 2)}
FEW: dict[str, Range] = {"cap": (0.8, 0.3, 1), "bandwidth": (0.8, 0.3, 1), "t0_us": (5, 0, 30)}
CAP: dict[str, Range] = {"cap": (0.7, 0.3, 1)}
CAP_DEPTH: dict[str, Range] = {"cap": (0.7, 0.3, 1), "k_half": (50, 0, 1000)}
CAP_START: dict[str, Range] = {"cap": (0.7, 0.3, 1), "t0_us": (4, 0, 30)}
# Harnesses that leave weights unset or fill operands with constants draw less power: too fast.
UNREAL = "uninit|constant fill|integer|zeros"


class Rows:
    """The rows of the CSV, by device, source, dtype and direction."""

    def __init__(self, folder: Path) -> None:
        rows = pd.read_csv(folder / "gemm_measured.csv", low_memory=False)
        for column in ("M", "N", "K", "batch"):
            rows[column] = pd.to_numeric(rows[column], errors="coerce")
        self.rows = rows[rows.time_us.notna() & rows.M.notna() & ~rows.note.fillna("").str.contains(UNREAL)]

    def pick(self, device: str, source: str, dtype: str, *, grouped: bool = False) -> pd.DataFrame:
        """Forward rows (all directions if grouped, where the file has no choice of shapes)."""
        rows, layout = self.rows, self.rows.layout.fillna("")
        chosen = (rows.device == device) & rows.source.str.contains(source) & rows.dtype.str.startswith(dtype)
        return rows[chosen & (layout.str.contains("grouped") == grouped) & ~layout.str.contains("grad")]

    def sample(
        self,
        device: str,
        source: str,
        target: str,
        dtype: str = "bf16",
        *,
        weight: float = 100.0,
        hold: bool = True,
        form: Form = "dense",
        smallest: int = 1,
    ) -> Sample:
        """Rows of `device` (the CSV's name) as a sample of `target` (the catalog's)."""
        rows = self.pick(device, source, dtype, grouped=form == "grouped")
        return gemm_sample(rows[smallest <= rows.M], target, dtype, weight=weight, form=form, hold=hold)


def gemm_cases(folder: Path) -> Iterable[Case]:
    """The tables of 16-bit matmuls, then fp32, fp8, fp4 and grouped ones."""
    rows = Rows(folder)
    sample = rows.sample
    a100, h100 = "A100-SXM4-80GB", "H100-SXM-80GB"
    # The tuned harness runs short bursts; PyTorch in longer runs is some percent slower, as training is.
    bursts = sample(a100, "aic", "a100-sxm-80gb")
    longer = [
        sample(a100, "vidur", "a100-sxm-80gb", "fp16", weight=50, hold=False, smallest=1024),
        sample("A100 (unstated)", "cookbook", "a100-sxm-80gb", "fp16", weight=25, hold=False, smallest=2048),
        sample(a100, "Azure", "a100-sxm-80gb", "fp16", weight=25, hold=False, smallest=4096),
    ]
    checks = (sample(a100, "LLMCompass", "a100-sxm-80gb", "fp16", hold=False),)
    yield Case("ampere", "gemm", GEMM | WAVES, [bursts, *longer], checks)
    longer = [sample(h100, "vidur", "h100-sxm-80gb", "fp16", weight=100, hold=False, smallest=1024)]
    yield Case("hopper", "gemm", GEMM, [sample(h100, "aic", "h100-sxm-80gb"), *longer])
    yield Case("h200-sxm-141gb", "gemm", GEMM, [sample("H200-SXM", "aic", "h200-sxm-141gb")])
    steady = sample("B200-SXM", "SimuMax", "b200-sxm", weight=40)
    yield Case("blackwell", "gemm", GEMM, [sample("B200-SXM", "aic", "b200-sxm"), steady])
    yield Case("gb200", "gemm", GEMM, [sample("GB200", "aic", "gb200")])
    yield Case("gb300", "gemm", GEMM, [sample("GB300", "aic", "gb300")])
    yield Case("ada", "gemm", GEMM, [sample("L40S", "aic", "l40s")])
    server = "rtx-pro-6000-blackwell-server"
    yield Case("blackwell-rtx", "gemm", GEMM | WAVES, [sample("RTX-PRO-6000-Server", "aic", server)])
    yield Case("volta", "gemm", GEMM | RAGGED, [sample("V100-SXM2-16GB", "DeepBench", "v100-sxm2-16gb", "fp16")])
    yield Case("turing", "gemm", FEW, [sample("T4", "DeepBench", "t4", "fp16")])
    yield Case("pascal", "gemm", CAP, [sample("P100", "DeepBench", "p100-pcie-16gb", "fp16")])
    yield Case("xe-hpg", "gemm", CAP_START, [sample("Intel-Arc-Pro-B60", "aic", "arc-pro-b60")])
    yield Case("ampere-ga10x", "gemm", FEW, [sample("A40", "vidur", "a40", "fp16")])
    yield Case("a100-pcie-80gb", "gemm", CAP, [sample("A100-PCIe-80GB", "SimuMax", "a100-pcie-80gb", hold=False)])
    yield Case("cdna2", "gemm", FEW, [sample("MI210", "LLMCompass", "mi210", "fp16", hold=False)])
    for file, device, source, target in (
        ("volta", "V100-SXM2-16GB", "DeepBench", "v100-sxm2-16gb"),
        ("turing", "T4", "DeepBench", "t4"),
        ("ampere", "A100-PCIe-40GB", "NeuSight", "a100-pcie-40gb"),
        ("hopper", h100, "NeuSight", "h100-sxm-80gb"),
        ("ada", "L4", "NeuSight", "l4"),
    ):
        yield Case(file, "gemm_fp32", FEW, [sample(device, source, target, "fp32")])
    pascal = [
        sample("GTX-1080Ti", "DeepBench", "gtx-1080-ti", "fp32"),
        sample("TitanXp", "DeepBench", "titan-xp", "fp32", hold=False),
        sample("P100", "DeepBench", "p100-pcie-16gb", "fp32", hold=False),
    ]
    checks = (sample("P4", "NeuSight", "p4", "fp32", hold=False),)
    yield Case("pascal", "gemm_fp32", CAP, pascal, checks)
    yield Case("gcn5", "gemm_fp32", CAP, [sample("MI25", "DeepBench", "mi25", "fp32")])
    fp8 = {"hold": False, "smallest": 1024}
    hopper = [
        sample(h100, "Azure", "h100-sxm-80gb", "fp8", **fp8),
        sample("H200-SXM", "Azure", "h200-sxm-141gb", "fp8", **fp8),
        sample("H800-SXM", "DeepGEMM", "h800-sxm-80gb", "fp8", **fp8),
    ]
    yield Case("hopper", "gemm_fp8", CAP_DEPTH, hopper)
    yield Case("gb200", "gemm_fp8", CAP, [sample("GB200", "Azure", "gb200", "fp8", **fp8)])
    yield Case("cdna3", "gemm_fp8", CAP, [sample("MI300X", "Azure", "mi300x", "fp8", **fp8)])
    yield Case("gb200", "gemm_fp4", CAP_START, [sample("GB200", "Azure", "gb200", "fp4", hold=False)])
    for file, device, target in (
        ("ampere", "A100-PCIe-80GB", "a100-pcie-80gb"),
        ("blackwell", "B200-SXM", "b200-sxm"),
    ):
        yield Case(file, "grouped_gemm", FEW, [sample(device, "SimuMax", target, hold=False, form="grouped")])
        plain = rows.rows[
            (rows.rows.device == device) & rows.rows.source.str.contains("SimuMax") & (rows.rows.batch == 1)
        ]
        rate = plain.groupby(plain.layout.str.contains("wgrad")).frac_of_peak.median()
        ratio = rate[False] / rate[True]
        print(f"# {target}: weight gradient / (forward, input gradient) time {ratio:.3f}, {len(plain)} rows")
