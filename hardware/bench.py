"""Short measurements of this machine's CPU through NumPy: matrix products and streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

# Threads of every BLAS that NumPy may be built with; read when it is imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_CACHE_SIZED = (96, 128, 192)  # three matrices of these sizes stay in a core's own caches


def seconds(
    run: Callable[[], Any],
    *,
    budget_s: float,
    at_least: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Durations of repeated runs after a first one that is not counted, until the budget is spent."""
    run()
    durations: list[float] = []
    start = time.perf_counter()
    while len(durations) < at_least or time.perf_counter() - start < budget_s:
        begin = clock()
        run()
        durations.append(clock() - begin)
    return durations


def gemm_runner(m: int, n: int, k: int, dtype: str) -> Callable[[], Any]:
    """A matrix product [m, k] x [k, n] of numbers in [0, 1) that writes into the same memory each time."""
    import numpy as np

    generator = np.random.default_rng(0)
    kind = {"fp32": "float32", "fp64": "float64"}[dtype]
    a = generator.random((m, k)).astype(kind)
    b = generator.random((k, n)).astype(kind)
    out = np.empty((m, n), dtype=kind)
    return lambda: np.matmul(a, b, out=out)


def core_flops_per_s(dtype: str, budget_s: float = 0.05) -> float:
    """Best rate of cache-sized matrix products in this process, in FLOP/s."""
    rates = []
    for size in _CACHE_SIZED:
        run = gemm_runner(size, size, size, dtype)

        def ten(run: Callable[[], Any] = run) -> None:
            for _ in range(10):
                run()

        rates.append(10 * 2 * size**3 / min(seconds(ten, budget_s=budget_s / len(_CACHE_SIZED))))
    return max(rates)


def one_core() -> dict[str, float]:
    """FLOP/s of one core in fp32 and fp64, measured in a process of its own with one BLAS thread.

    A core's own rate is steadier than that of all cores on a shared machine: threads that wait for a busy
    core halve the rate of a large product, and leave that of one core alone.
    """
    code = (
        "import json; from hardware.bench import core_flops_per_s\n"
        "print(json.dumps({dtype: core_flops_per_s(dtype) for dtype in ('fp32', 'fp64')}))"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    result = subprocess.run(  # noqa: S603  (this interpreter, a fixed program)
        [sys.executable, "-c", code],
        env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    rates: dict[str, float] = json.loads(result.stdout)
    return rates


def copy_bytes_per_s(working_set: int, threads: int, *, budget_s: float = 0.1) -> float:
    """Best rate of copying between two halves of `working_set` bytes, read plus written, over `threads`."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    each = max(working_set // (2 * threads), 4096)
    sources = [np.ones(each, dtype=np.uint8) for _ in range(threads)]
    targets = [np.zeros(each, dtype=np.uint8) for _ in range(threads)]
    # Small sets are copied many times per task, or starting the task would be what is measured.
    times = max(1, int(2e6 // each))

    def copy(index: int) -> None:
        for _ in range(times):
            np.copyto(targets[index], sources[index])  # releases the interpreter lock

    if threads == 1:
        # CPU time: what other programs take away is not this core's bandwidth
        best = min(seconds(lambda: copy(0), budget_s=budget_s, clock=time.process_time))
    else:
        with ThreadPoolExecutor(threads) as pool:
            best = min(seconds(lambda: list(pool.map(copy, range(threads))), budget_s=budget_s))
    return 2 * each * threads * times / best


def load_average() -> float | None:
    """Mean number of runnable tasks over the last minute, where the system says."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
