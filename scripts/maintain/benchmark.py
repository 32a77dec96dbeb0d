"""Measure how fast the estimator itself is: layouts per second, single estimates per second, whole processes.

    python scripts/maintain/benchmark.py

Every figure is the best of several repeats, on one core; the first two count processor time, and are also said in
divisions of a fixed loop that is timed in the same run, which other machines can be compared by (docs/how_it_works.md
has a table of them).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import roofline
from roofline.answers.estimate import estimate_step
from roofline.answers.replayed import replayed
from roofline.config.settle import resolve, train_config
from roofline.counting.step import Step, build_step
from roofline.hardware import Device
from roofline.model.load import model_from_flat
from roofline.search.space import divisors
from roofline.timing.ranks import price
from roofline.timing.schedule import schedule

GPT3 = model_from_flat(
    {
        "name": "gpt3-175b",
        "n_layers": 96,
        "d_model": 12288,
        "n_heads": 96,
        "d_ff": 49152,
        "vocab_size": 51200,
        "max_seq_len": 2048,
        "learned_positions": 2048,
        "tied_embeddings": True,
        "biases": True,
        "rotary": False,
    }
)
DEVICE = roofline.load_device("a100-sxm-80gb")
COUNTS = tuple(sorted(n for p in range(13) for n in (2**p, 3 * 2**p)))
POWERS = (1, 2, 4, 8, 16, 32, 64)
SEARCHES: dict[str, tuple[object, dict[str, object]]] = {
    "GPT-3 175B, 64 A100": (GPT3, {"num_devices": 64, "global_batch": 1536}),
    "GPT-3 175B, 64 A100, tp across nodes, 2 dtypes, 3 attention kernels": (
        GPT3,
        {
            "num_devices": 64,
            "global_batch": 1536,
            "across_nodes": True,
            "dtype": ("bf16", "fp16"),
            "attention": ("unfused", "flash1", "flash2"),
        },
    ),
    # about the 3.23 million combinations that Calculon's search takes hours for
    "GPT-3 175B, 64 A100, every degree, 4 dtypes, 5 attention kernels, 6 shardings": (
        GPT3,
        {
            "num_devices": 64,
            "global_batch": 1536,
            "tp": POWERS,
            "pp": POWERS,
            "cp": POWERS,
            "micro_batch": tuple(divisors(1536)),
            "dtype": ("bf16", "fp16", "tf32", "fp32"),
            "attention": ("unfused", "flash1", "flash2", "flash1", "te"),
            "sharding": ("none", "zero1", "zero2", "zero3", "fsdp", "hsdp"),
        },
    ),
    "Llama 2 70B, 1 to 12,288 A100": ("llama-2-70b", {"num_devices": COUNTS, "global_batch": 12288}),
    "Llama 2 7B, 1 to 12,288 A100": ("llama-2-7b", {"num_devices": COUNTS, "global_batch": 12288}),
    "Mixtral 8x7B, 1 to 12,288 A100, every etp, 3 schedules": (
        "mixtral-8x7b",
        {"num_devices": COUNTS, "global_batch": 12288, "etp": "all", "schedule": ("1f1b", "interleaved", "zb-h1")},
    ),
    "DeepSeek-V3, 2,048 A100": ("deepseek-v3", {"num_devices": 2048, "global_batch": 15360}),
    "DeepSeek-V3, 2,048 A100, DualPipe": (
        "deepseek-v3",
        {"num_devices": 2048, "global_batch": 15360, "schedule": "dualpipe"},
    ),
}
SWEEP: dict[str, Any] = {  # 17,280 cases, most of which can be
    "num_devices": COUNTS[6:],
    "tp": (1, 2, 4, 8),
    "pp": (1, 2, 4),
    "micro_batch": (1, 2, 4),
    "seq_len": (2048, 4096),
    "global_batch": (1536, 3072),
    "recompute": ("none", "selective", "full"),
    "sharding": ("zero1", "fsdp"),
}
DIVISIONS = 1_000  # of the fixed loop
COMMANDS = (
    "estimate gpt2-xl -d h100-sxm-80gb",
    "layouts llama-2-70b -d a100-sxm-80gb --num-devices 64 --global-batch 512 --stack megatron",
    "plan deepseek-v3 -d h800-sxm-80gb --tokens 14.8T --deadline 60d",
)
SHARDINGS = ("none", "zero1", "zero2", "fsdp")
ONE = {"num_devices": 64, "tp": 8, "pp": 4, "micro_batch": 1, "global_batch": 512, "stack": "megatron"}


def best_of(run: Callable[[], object], repeats: int = 5, clock: Callable[[], float] = time.process_time) -> float:
    """Fewest seconds of several runs: processor time unless `clock` says otherwise, for shared machines."""
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def searches(loop: float) -> None:
    """Layouts per second of whole searches, result included; `loop`: seconds of the fixed loop."""
    for name, (model, options) in SEARCHES.items():
        search = partial(roofline.layouts, model, DEVICE, **{"stack": "megatron", "sharding": SHARDINGS, **options})
        found, seconds = search(), best_of(search)
        rates = [f"{count / seconds / 1e6:.2f} million/s" for count in (found.evaluated, found.fitting)]
        print(f"{name}: {found.evaluated:,} layouts in {1e3 * seconds:.0f} ms = {rates[0]};")
        print(f"    {found.fitting:,} of them fit ({rates[1]}); {_divisions(seconds / found.evaluated, loop)} a layout")
    print(f"peak memory: {_peak_mib():.0f} MiB")


def _loop() -> None:
    """A fixed piece of work of the interpreter: what a ratio to it says holds on other machines, too."""
    total = 0.0
    for number in range(1, DIVISIONS + 1):
        total += (number * 3.0 + 1.0) / number
    assert total > 0


def loop_time() -> float:
    """Seconds of one fixed loop."""
    return best_of(lambda: [_loop() for _ in range(200)], repeats=20) / 200


def _divisions(seconds: float, loop: float) -> str:
    """A time in divisions of the fixed loop."""
    found = seconds / loop * DIVISIONS
    return f"{found:,.0f} divisions" if found >= 10 else f"{found:.1f} divisions"


def sweeps(loop: float) -> None:
    """Cases per second of a sweep that is written to a CSV; `loop`: seconds of the fixed loop."""
    with tempfile.TemporaryDirectory() as folder:
        run = partial(roofline.sweep, "llama-2-70b", DEVICE, record=f"{folder}/all.csv", **SWEEP)
        done, seconds = run(), best_of(run, repeats=3)
    count = done.written + done.refused
    print(f"a sweep of {count:,} cases, {done.written:,} of which can be, to a CSV: {count / seconds:,.0f} cases/s;")
    print(f"    {_divisions(seconds / count, loop)} each; peak memory: {_peak_mib():.0f} MiB")


def _peak_mib() -> float:
    """The most memory that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def single_estimates(loop: float) -> None:
    """Estimates per second, one at a time and no two of one batch: the step time alone, and the full result.

    As they are counted anew, and as the same questions are answered where only the batch differs from earlier ones.
    `loop`: seconds of the fixed loop.
    """
    model = roofline.load_model("llama-2-70b")
    trains = [resolve(train_config({**ONE, "global_batch": 2 * passes}), model) for passes in range(8, 208)]
    count = len(trains)

    def counted(answer: Callable[[Step, Device], object]) -> Callable[[], object]:
        return lambda: [answer(build_step(model, train), DEVICE) for train in trains]

    def again(answer: Callable[[Step, Device], object]) -> Callable[[], object]:
        return lambda: [replayed(answer, model, train, DEVICE) for train in trains]

    def asked() -> None:
        for passes in range(8, 208):
            roofline.estimate("llama-2-70b", DEVICE, **{**ONE, "global_batch": 2 * passes})

    for words, run in (
        ("step time, counted", counted(step_time)),
        ("step time, replayed", again(step_time)),
        ("full result, counted", counted(estimate_step)),
        ("roofline.estimate, reading the options too", asked),
    ):
        run()
        seconds = best_of(run)
        print(f"{words}: {count / seconds:,.0f}/s, {_divisions(seconds / count, loop)} each")


def step_time(step: Step, device: Device) -> object:
    """The step time alone."""
    return schedule(step, device, price(step, device)).total


def processes(repeats: int = 15) -> None:
    """Whole processes against `python -c "import numpy"`, in turn, in an empty folder: all meet the same machine."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    times: dict[str, list[float]] = {name: [] for name in ("import numpy", *COMMANDS)}
    with tempfile.TemporaryDirectory() as folder:
        for name in [*times] * repeats:
            arguments = ["-m", "roofline", *name.split()] if name in COMMANDS else ["-c", name]
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment, cwd=folder)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        words = [
            f"{kind} {1e3 * of(seconds):.0f} ms = {of(seconds) / of(times['import numpy']):.2f} x import numpy"
            for kind, of in (("best", min), ("median", statistics.median))
        ]
        print(f"{name}: {', '.join(words)}")


def main() -> None:
    """Print every figure."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    loop = loop_time()
    print(f"a loop of {DIVISIONS:,} divisions: {1e6 * loop:.0f} us")
    searches(loop)
    sweeps(loop)
    single_estimates(loop)
    processes()


if __name__ == "__main__":
    main()
