"""Timings of collectives: inside one domain of fast links, and between nodes (`fit_hosts` has PCIe)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from fitting import Case, Range, Sample

from roofline.hardware import load_device
from roofline.timing import collective

INSIDE: dict[str, Range] = {
    "alpha_us": (8, 0, 60),
    "alpha_rank_us": (1, 0, 10),
    "eta": (0.75, 0.2, 1),
    "few_ranks": (0.5, 0, 1.2),
    "ramp_us": (10, 0, 200),
    "ramp_rank_us": (2, 0, 50),
    "ramp_mb": (3, 0.05, 50),
}
SWITCH: dict[str, Range] = {"switch_eta": (0.65, 0.3, 1)}
NETWORK: dict[str, Range] = {
    "alpha_us": (20, 0, 100),
    "alpha_step_us": (10, 0, 60),
    "eta": (0.9, 0.3, 1),
    "ramp_us": (50, 0, 1000),
    "ramp_mb": (3, 0.1, 100),
}
NAMES = {
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "alltoall": "all_to_all",
}


def collective_sample(rows: pd.DataFrame, target: str, name: str, *, network_gb_per_s: float | None = None) -> Sample:
    """Rows of one collective on one system; ranks are spread evenly over its nodes."""
    device = load_device(target)
    payload, ranks = rows.bytes.to_numpy(float), rows.n_gpus.to_numpy(float)
    per_domain = ranks / rows.n_nodes.to_numpy(float)
    network = None if network_gb_per_s is None else network_gb_per_s * 1e9
    regimes = {
        "small": payload < 1e6,
        "medium": (payload >= 1e6) & (payload < 64e6),
        "large": payload >= 64e6,
    }
    regimes |= {f"n={n:g}": ranks == n for n in sorted(set(ranks))}
    return Sample(
        device,
        lambda d: np.asarray(
            collective.expected_time(name, payload, ranks, d, ranks_per_domain=per_domain, network_bytes_per_s=network)
        ),
        rows.time_us.to_numpy() * 1e-6,
        np.ones(len(rows)),
        regimes,
        np.zeros(len(rows), bool),
        "; ".join(sorted(set(rows.source))),
    )


def collective_cases(folder: Path) -> Iterable[Case]:
    """One table per collective and architecture, then the network between nodes."""
    rows = pd.read_csv(folder / "collectives_measured.csv")
    rows = rows[rows.time_us.notna()]
    nccl = rows[rows.source.str.startswith("aic") & ~rows.library.str.contains("vLLM")]
    others = rows[~rows.source.str.startswith("aic") & (rows.n_nodes == 1) & ~rows.library.str.contains("NVLS off")]

    def of(table: pd.DataFrame, system: str, csv_name: str) -> pd.DataFrame:
        return table[table.system.str.contains(system) & (table.collective == csv_name)]

    for file, target, system, elsewhere in (
        ("ampere", "a100-sxm-80gb", "A100-SXM", "A100-SXM|A100 DGX"),
        ("hopper", "h100-sxm-80gb", "H100-SXM", "H100-SXM|H200-SXM"),
        ("blackwell", "b200-sxm", "B200-SXM", "B200-SXM|NVL72 1 rack"),
    ):
        for csv_name, name in NAMES.items():
            check = of(others, elsewhere, csv_name)
            checks = (collective_sample(check, target, name),) if len(check) else ()
            ranges = INSIDE | SWITCH if name == "all_reduce" and file != "ampere" else INSIDE
            samples = [collective_sample(of(nccl, system, csv_name), target, name)]
            if file == "blackwell":
                samples.append(collective_sample(of(nccl, "GB200", csv_name), "gb200", name))
                if name == "all_reduce":  # only the newer harness runs the switch reduction
                    samples.append(collective_sample(check, target, name))
                    checks = ()
            yield Case(file, f"collective.{name}", ranges, samples, checks)
    ranges = {key: INSIDE[key] for key in ("alpha_us", "eta", "ramp_us", "ramp_mb")}
    yield Case(
        "cdna3",
        "collective.all_reduce",
        ranges,
        [collective_sample(of(others, "MI300X", "all_reduce"), "mi300x", "all_reduce")],
    )
    p2p = rows[(rows.collective == "send_recv") & (rows.n_nodes == 1)]
    for file, target, system in (
        ("ampere", "a100-sxm-80gb", "A100 DGX"),
        ("hopper", "h100-sxm-80gb", "H100 DGX"),
    ):
        ranges = {key: INSIDE[key] for key in ("alpha_us", "eta", "ramp_us", "ramp_mb")}
        yield Case(
            file,
            "collective.send_recv",
            ranges,
            [collective_sample(p2p[p2p.system.str.contains(system)], target, "send_recv")],
        )
    yield from network_case(rows[rows.n_nodes > 1])


def network_case(rows: pd.DataFrame) -> Iterable[Case]:
    """InfiniBand and EFA runs with the NIC rate known; slow Ethernet clusters of one harness are left out."""

    def of(system: str, target: str, name: str, rate: float) -> Sample:
        chosen = rows[rows.system.str.contains(system, regex=False) & (rows.collective == name)]
        return collective_sample(chosen, target, name, network_gb_per_s=rate)

    h100 = "h100-sxm-80gb"
    yield Case(
        "default",
        "network",
        NETWORK,
        [
            of("2 nodes x 1 H100", h100, "all_reduce", 50),
            of("H100-SXM 8 nodes", h100, "all_reduce", 50),
            of("2 nodes x 4 GPUs", h100, "all_reduce", 50),
            of("H100 DGX (vidur)", h100, "send_recv", 50),
            of("4x ~25GB/s", h100, "all_reduce", 25),
            of("unstated 4-node", h100, "all_reduce", 12.5),
            of("H200-SXM + EFA", "h200-sxm-141gb", "all_reduce", 50),
        ],
        (
            of("B200-SXM + 8x400G", "b200-sxm", "all_reduce", 50),
            of("NVL72 2 racks", "gb200", "all_reduce", 50),
        ),
    )
