"""Host time of FSDP's units within a layer, over that of a kernel: what `unit_us` of a software profile rests on.

Two processes on the CPU train adapters beside small frozen matrices, once as they are, once with each layer a unit, and
once with each matrix of an adapter a unit as well, as PEFT wraps them. Time is that of the main thread alone, so that
neither the other process nor the collectives' threads count. On two vCPUs (PyTorch 2.13.0, gloo, 2026-11-28) a unit
takes as long as 80 to 97 kernels in forward and 113 to 129 in backward, a tenth of it gloo's.

    python scripts/maintain/measure_units.py      # needs torch
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from roofline.config.stack import load_stack

WIDTH, RANK, ADAPTERS, LAYERS, STEPS = 32, 4, 7, 6, 40
KERNELS = 5  # of an adapter and its frozen matrix in forward: three products, the scale, the sum
MODES = ("alone", "layers", "matrices")


class Adapted(nn.Module):
    """y = x W + 2 x A B with W frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(WIDTH, WIDTH, bias=False).requires_grad_(requires_grad=False)
        self.a, self.b = nn.Linear(WIDTH, RANK, bias=False), nn.Linear(RANK, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Y of x."""
        return self.base(x) + self.b(self.a(x)) * 2.0


def run(rank: int, mode: str, port: int, folder: Path) -> None:
    """Print microseconds of the main thread in forward and backward, the median over steps."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo")
    torch.set_num_threads(1)
    model: nn.Module = nn.Sequential(*(nn.Sequential(*(Adapted() for _ in range(ADAPTERS))) for _ in range(LAYERS)))

    def is_unit(module: nn.Module, *, recurse: bool, **_: int) -> bool:
        leaf = isinstance(module, nn.Linear) and module.weight.requires_grad
        return recurse or isinstance(module, nn.Sequential) or (mode == "matrices" and leaf)

    if mode != "alone":
        cpu = torch.device("cpu")
        model = FullyShardedDataParallel(
            model, auto_wrap_policy=is_unit, use_orig_params=mode == "layers", device_id=cpu
        )
    x, passes = torch.randn(4, WIDTH), []
    for _ in range(STEPS):
        start = time.thread_time()
        loss = model(x).sum()
        middle = time.thread_time()
        loss.backward()
        passes.append((middle - start, time.thread_time() - middle))
        model.zero_grad()
    if rank == 0:
        torch.save([statistics.median(each) * 1e6 for each in zip(*passes, strict=True)], folder / mode)
    dist.destroy_process_group()


def main() -> None:
    """Time the three, and print what a unit costs in each pass."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        for port, mode in enumerate(MODES, start=29611):
            torch.multiprocessing.spawn(run, args=(mode, port, Path(name)), nprocs=2)
            found[mode] = torch.load(Path(name) / mode)
    kernel = found["alone"][0] / (LAYERS * ADAPTERS * KERNELS)
    units = LAYERS * ADAPTERS * 2
    launch = load_stack("eager").host_us or 0.0
    for name, each, layers in zip(("forward", "backward"), found["matrices"], found["layers"], strict=True):
        unit = (each - layers) / units
        times = unit / kernel
        print(
            f"{name}: {unit:.0f} us a unit, {times:.0f} kernels of {kernel:.1f} us; {times * launch:.0f} of {launch:g}"
        )


if __name__ == "__main__":
    main()
