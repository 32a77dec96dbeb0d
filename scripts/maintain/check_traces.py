"""Profiles the traces of a folder and compares their sums with the folder's index.csv.

    python scripts/maintain/check_traces.py FOLDER [--ops N]

The index has a row per file; columns that are there are compared: kernels, kernel_time_sum_us, gpu_busy_union_us,
gpu_span_us, nccl_kernels, nccl_time_sum_us, nccl_exposed_us, device, and the share that can be attributed
(attributable_time_share_without_leading), of which 95 % must be. Prints a line per trace, and what differs.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
from pathlib import Path

from roofline.errors import RooflineError
from roofline.profiling.meaning import meaning
from roofline.profiling.profile import profile
from roofline.profiling.result import Profile
from roofline.view.profile import op_words, shape_words

TOLERANCE = 2e-4  # index rounds to a tenth of a microsecond
WANTED = 0.95
SUMS = {
    "kernels": ("kernels", 1),
    "kernel_time_sum_us": ("kernel_time_s", 1e6),
    "gpu_busy_union_us": ("busy_s", 1e6),
    "gpu_span_us": ("span_s", 1e6),
    "nccl_kernels": ("nccl_kernels", 1),
    "nccl_time_sum_us": ("nccl_time_s", 1e6),
    "nccl_exposed_us": ("nccl_exposed_s", 1e6),
}


def main() -> int:
    """Check every row; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ops", type=int, default=0, help="print the N largest gaps of each trace")
    args = parser.parse_args()
    with (args.folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    failed = sum(not check(args.folder, row, args.ops) for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} traces as the index says")
    return 1 if failed else 0


def check(folder: Path, row: dict[str, str], ops: int) -> bool:
    """Profile one trace and print how it compares."""
    start = time.perf_counter()
    try:
        result = profile([folder / row["file"]])
    except RooflineError as error:
        without_gpu = row.get("kernels") in {"0", "", None}
        print(f"{'ok' if without_gpu else 'DIFFERS':8} {row['file']}: {error}")
        return without_gpu
    seconds = time.perf_counter() - start
    wrong = [*differences(result, row), *attribution(result, row)]
    ratios = [op.ratio for op in result.ops if op.kind == "matmul" and op.ratio]
    matmuls = (
        f", matmuls measured {statistics.median(ratios):.2f} x expected (median of {len(ratios)})" if ratios else ""
    )
    print(
        f"{'DIFFERS' if wrong else 'ok':8} {row['file']}: {result.totals.events:,} events in {seconds:.2f} s, "
        f"attributed {100 * result.attributed_share:.1f} % (with an operator {100 * result.linked_share:.1f} %), "
        f"busy {1e3 * result.totals.busy_s:.1f} ms, exposed {1e3 * result.totals.nccl_exposed_s:.2f} ms{matmuls}"
    )
    for word in wrong:
        print(f"         {word}")
    gaps = sorted((op for op in result.ops if op.gap_s and op.kind != "collective"), key=lambda op: -(op.gap_s or 0))
    for op in gaps[:ops]:
        words = f"{op_words(op)} {op.phase} {shape_words(op)}"
        print(f"         {1e3 * (op.gap_s or 0):8.3f} ms  {op.ratio or 0:5.2f}x  {words}: {meaning(op, result.device)}")
    return not wrong


def differences(result: Profile, row: dict[str, str]) -> list[str]:
    """Sums that are not those of the index."""
    found = []
    for column, (name, scale) in SUMS.items():
        if row.get(column):
            ours, theirs = getattr(result.totals, name) * scale, float(row[column])
            if abs(ours - theirs) > TOLERANCE * max(abs(theirs), 1.0) + 0.06:
                found.append(f"{column}: {ours:,.1f}, index {theirs:,.1f}")
    device = row.get("device")
    if device and (result.device is None or result.device.id != device):
        found.append(f"device: {result.device and result.device.id}, index {device}")
    return found


def attribution(result: Profile, row: dict[str, str]) -> list[str]:
    """Whether enough of what can be attributed is: with shapes where they are recorded, else with an operator."""
    wanted = float(row.get("attributable_time_share_without_leading") or 0) * WANTED
    share = result.linked_share if row.get("record_shapes") == "no" else result.attributed_share
    return [f"attributed {share:.3f}, wanted {wanted:.3f}"] if share < wanted else []


if __name__ == "__main__":
    sys.exit(main())
