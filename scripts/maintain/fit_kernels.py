"""Fit the measured constants of `hardware/architectures/` and `hardware/devices/` to kernel timings.

Usage: python scripts/maintain/fit_kernels.py DATA_FOLDER [gemm|attention|stream|collective|all]

Reads the op-level CSVs in DATA_FOLDER, fits the constants of the timing model itself (`roofline.timing.kernel`,
`roofline.timing.collective`) by least squares on the logarithm of time, and prints the errors by regime (on
held-out shapes where there are enough, and on independent sources) and each table as TOML.

Regimes of matmuls by roofline time: large >= 100 us, medium 20-100 us, small 5-20 us (compute-bound), skinny
(memory-bound, >= 5 us), tiny < 5 us; train: m, n and k >= 1024. Of attention: large >= 100 us, medium 10-100
us. Of collectives by payload: small < 1 MB, medium < 64 MB, large.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

from fit_attention import attention_cases
from fit_collectives import collective_cases
from fit_gemm import gemm_cases
from fit_stream import stream_cases
from fitting import Case, fit

CASES: dict[str, Callable[[Path], Iterable[Case]]] = {
    "gemm": gemm_cases,
    "attention": attention_cases,
    "stream": stream_cases,
    "collective": collective_cases,
}


def main() -> None:
    """Fit what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with the op-level CSVs")
    parser.add_argument("what", nargs="?", default="all", choices=["all", *CASES])
    args = parser.parse_args()
    for name, cases in CASES.items():
        if args.what in {"all", name}:
            for case in cases(args.folder):
                fit(case)


if __name__ == "__main__":
    main()
