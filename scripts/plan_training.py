"""Plan a training run: the best layout, days and cost on some devices, and what a deadline needs.

Copy it and edit the settings; `python scripts/plan_training.py` prints the answers.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import roofline
from roofline.planning.cost import Terms

MODEL = "llama-2-7b"  # a preset, a Hugging Face config.json or a .toml
DEVICES = {"a100-sxm-80gb": 1.5, "h100-sxm-80gb": 2.5}  # catalog id -> price of a device-hour
TOKENS = 300 * 10**9  # or "chinchilla": 20 per parameter
NUM_DEVICES = 64
DEADLINE_DAYS = 14
TRAINING = {
    "global_batch": 512,
    "seq_len": 4096,
}  # options of `roofline estimate`: degrees restrict


def main() -> None:
    """The fastest layouts of one device, then the run on each, then the deadline."""
    first = next(iter(DEVICES))
    found = roofline.layouts(MODEL, first, num_devices=NUM_DEVICES, top=5, **TRAINING)
    print(found.to_frame()[["tp", "pp", "dp", "micro_batch", "sharding", "recompute", "step_time_s", "mfu"]])

    for device, price in DEVICES.items():
        # What is left out (tokens, num_devices, deadline_s, budget) is worked out from the rest.
        terms = Terms(price=price)
        run = roofline.plan(MODEL, device, tokens=TOKENS, num_devices=NUM_DEVICES, terms=terms, **TRAINING)
        days = [t / 86400 for t in (run.wall_time_low_s, run.wall_time_s, run.wall_time_high_s)]
        time = f"{days[1]:.1f} days ({days[0]:.1f} to {days[2]:.1f})"
        print(f"\n{NUM_DEVICES} x {device}: {time}, cost {run.cost:,.0f}")
        for line in run.arithmetic:  # every line, to be checked
            print(f"  {line.what:<16} {line.how}: {line.value}")

        in_time = roofline.plan(MODEL, device, tokens=TOKENS, deadline_s=DEADLINE_DAYS * 86400, **TRAINING)
        print(f"{DEADLINE_DAYS} days need {in_time.num_devices} x {device}")


if __name__ == "__main__":
    with suppress(BrokenPipeError):  # the reader (head, less) has gone
        main()
        sys.stdout.flush()
        sys.exit()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is written again at the end
