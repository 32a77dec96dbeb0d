"""Timings of collectives between cards that share only PCIe, by kind of host, each host counted once."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import least_squares

Array = NDArray[np.float64]

PCIE_X16 = {"PCIe 3.0": 15.75, "PCIe 4.0": 31.5, "PCIe 5.0": 63.0}
SYSTEMS = {"L40S PCIe4": 31.5, "RTX PRO 6000 Server PCIe5": 63.0, "Intel Arc Pro B60 PCIe5x8": 31.5}
PASCAL = {"NV_1080Ti (DeepBench)": 15.75, "NV_TitanX_Pascal (DeepBench)": 15.75}
STEPS = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0, "alltoall": 1.0}  # times (n-1)/n of the payload
LARGE = 16e6  # bytes from which bandwidth alone decides


def kind_of(row: pd.Series) -> str:
    """The kind of host that a row's words say."""
    if str(row.p2p).startswith("yes"):
        return "p2p-switch" if "switch" in row.host_topology or "patched" in row.p2p else "p2p-root"
    return "staged-fast" if "PCIe 5.0" in row.link else "staged"


def rows_of(folder: Path) -> pd.DataFrame:
    """Every measured collective over PCIe: kind, host, link rate, ranks, bytes, seconds."""
    pcie = pd.read_csv(folder / "pcie_collectives_measured.csv")
    pcie = pcie[pcie.link.str.startswith("PCIe") & pcie.collective.isin(STEPS) & ~pcie.source.str.contains("aiconf")]
    pcie = pcie[pcie.bus_gb_s.notna()].copy()
    pcie["bytes"] = pd.to_numeric(pcie.bytes, errors="coerce").fillna(256e6)  # "large", or an average over large ones
    pcie["rate"] = [PCIE_X16[link[:8]] / (2 if "x8" in link else 1) for link in pcie.link]
    pcie["kind"] = pcie.apply(kind_of, axis=1)
    pcie = pcie[~pcie.note.fillna("").str.contains("MEMCPY|iommu")]  # copy engines, and a host before it was mended
    pcie["host"] = pcie.source + pcie.host_topology
    both = pd.read_csv(folder / "collectives_measured.csv")
    both = both[both.system.isin({**SYSTEMS, **PASCAL}) & both.collective.isin(STEPS)]
    both = both[~both.library.str.contains("MPI|Baidu|OSU") & both.busbw_GBps.notna()].copy()
    both["rate"] = [{**SYSTEMS, **PASCAL}[system] for system in both.system]
    both["kind"] = ["p2p-switch" if system in PASCAL else "p2p-root" for system in both.system]
    # The L40S host reaches a link's share with two cards and what staging reaches with more: NCCL goes peer-to-peer
    # within one root complex alone (its default P2P level), and through host memory beyond.
    both.loc[both.system.str.startswith("L40S") & (both.n_gpus > 2), "kind"] = "staged"
    both = both.rename(columns={"busbw_GBps": "bus_gb_s", "n_gpus": "n", "system": "host"})
    rows = pd.concat(
        [frame[["kind", "host", "rate", "collective", "n", "bytes", "bus_gb_s"]] for frame in (pcie, both)]
    )
    steps = np.array([STEPS[name] for name in rows.collective]) * (rows.n - 1) / rows.n
    return rows.assign(seconds=steps * rows.bytes / rows.bus_gb_s / 1e9, traffic=steps * rows.bytes)


def fit(rows: pd.DataFrame, *, absolute: bool) -> tuple[Array, Array]:
    """(alpha_us, alpha_rank_us, eta or GB/s at two ranks, shared) and the errors; every host weighs the same."""
    weight = 1 / rows.groupby("host").seconds.transform("size").to_numpy()

    def errors(theta: Array) -> Array:
        alpha, rank, rate, shared = theta
        top = rate * (2 / rows.n) ** shared * (1.0 if absolute else rows.rate)
        seconds = (alpha + rank * (rows.n - 2)) * 1e-6 + rows.traffic / (top * 1e9)
        return np.log(seconds / rows.seconds).to_numpy()

    start = [8.0, 3.0, 3.0 if absolute else 0.6, 0.1]
    found = least_squares(
        lambda theta: errors(theta) * np.sqrt(weight),
        start,
        bounds=([0, 0, 0.02, 0], [60, 20, 100, 2]),
        loss="soft_l1",
        f_scale=0.2,
        x_scale=[5, 3, start[2], 0.3],
    )
    return found.x, errors(found.x)


def main() -> None:
    """Print the constants of each kind, and what its hosts reach."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where pcie_collectives_measured.csv is")
    rows = rows_of(parser.parse_args().folder)
    for kind, chosen in rows.groupby("kind"):
        for name, of_name in chosen.groupby("collective"):
            theta, error = fit(of_name, absolute=kind == "staged")
            print(f"\n[{kind}.{name}] alpha_us, alpha_rank_us, rate, shared = {np.round(theta, 3)}")
            print(f"rows = {len(error)}, mape = {100 * np.abs(np.expm1(error)).mean():.1f}")
        large = chosen[(chosen.collective == "all_reduce") & (chosen.bytes >= LARGE)]
        reached = large.groupby(["host", "n"]).agg(bus=("bus_gb_s", "median"), rate=("rate", "first"))
        print(reached.assign(share=reached.bus / reached.rate).to_string())


if __name__ == "__main__":
    main()
