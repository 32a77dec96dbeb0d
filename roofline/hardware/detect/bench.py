"""Short measurements of this machine's CPU through NumPy: matrix products and streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Threads of every BLAS that NumPy may be built with; read when it is imported.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_BYTES_PER_CALL = 16_000_000  # a tenth of a millisecond: a thousand times what a call costs
_SHORT = 1e-3  # seconds that are always there
_CACHE_SIZED = (96, 128, 192)  # three matrices of these sizes stay in a core's own caches


def seconds(
    run: Callable[[], Any], *, budget_s: float, at_least: int = 3, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Durations of repeated runs after a first one that is not counted, until the budget is spent.

    A run of which `at_least` would take twice the budget and more is run once.
    """
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    if at_least * first > max(2 * budget_s, _SHORT):
        at_least = 1
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
        "import json; from roofline.hardware.detect.bench import core_flops_per_s\n"
        "print(json.dumps({dtype: core_flops_per_s(dtype) for dtype in ('fp32', 'fp64')}))"
    )
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    try:
        result = subprocess.run(  # noqa: S603  (this interpreter, a fixed program)
            [sys.executable, "-c", code],
            env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        # No second process here: this one's threads are what there is, and one core does not wait for others.
        return {dtype: core_flops_per_s(dtype) for dtype in ("fp32", "fp64")}
    rates: dict[str, float] = json.loads(result.stdout)
    return rates


def stream_runner(size: int, threads: int) -> Callable[[], Any]:
    """Multiplies `size` bytes in place, a part per thread: each is read and written once.

    A copy into other memory moves more than its two passes: the target's lines are read before they are
    written.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    parts = [np.ones(max(size // 4 // threads, 1), dtype=np.float32) for _ in range(threads)]
    if threads == 1:
        return lambda: np.multiply(parts[0], 1.0, out=parts[0])
    pool = ThreadPoolExecutor(threads)  # NumPy releases the interpreter lock
    return lambda: list(pool.map(lambda part: np.multiply(part, 1.0, out=part), parts))


def stream_bytes_per_s(size: int, threads: int, *, budget_s: float = 0.2) -> float:
    """Best rate of reading and writing `size` bytes in place, over `threads`."""
    durations = seconds(stream_runner(size, threads), budget_s=budget_s, clock=clock_of(threads))
    return 2 * size / min(durations)


def clock_of(threads: int) -> Callable[[], float]:
    """One thread is timed by its CPU time, which other programs hardly lengthen, several by the wall clock."""
    return time.process_time if threads == 1 else time.perf_counter


def cache_bytes_per_s(working_set: int, threads: int = 1, *, budget_s: float = 0.1) -> float:
    """Best rate of ``a = max(a, b)`` over two arrays of half of `working_set` bytes in each of `threads`.

    One call goes over them a hundred to a thousand times (rows of a matrix that all lie in the same place),
    so that neither calls nor the interpreter lock are measured.
    """
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    count = max(working_set // 8, 16)
    turns = max(1, _BYTES_PER_CALL // (12 * count))

    def build() -> Callable[[], Any]:
        row, best = np.ones(count, np.float32), np.zeros(count, np.float32)
        rows = np.lib.stride_tricks.as_strided(row, (turns, count), (0, row.itemsize))
        return lambda: np.maximum.reduce(rows, axis=0, out=best)

    runs = [build() for _ in range(threads)]
    if threads == 1:
        durations = seconds(runs[0], budget_s=budget_s, clock=clock_of(1))
    else:
        with ThreadPoolExecutor(threads) as pool:
            durations = seconds(lambda: list(pool.map(lambda run: run(), runs)), budget_s=budget_s)
    return 12 * count * turns * threads / min(durations)  # two reads and a write of 4 bytes


def load_average() -> float | None:
    """Mean number of runnable tasks over the last minute, where the system says."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
