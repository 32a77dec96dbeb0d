"""Record what the commands print, so that a change that should change nothing can prove it.

python scripts/maintain/record_outputs.py FOLDER    write every recorded output below FOLDER
diff -r BEFORE AFTER                                what differs: nothing, to the byte

Recorded: every example of README and docs, `validate --format csv` of runs, memory and budgets, `layouts --format json`
of five searches (without their own timing), `estimate --format json` of 300 configurations.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import re
from pathlib import Path

CASES = 300
SEARCHES = (
    "llama-3-70b -d h100-sxm-80gb --num-devices 64 --global-batch 512",
    "gpt3-175b -d a100-sxm-80gb --num-devices 64 --global-batch 1536",
    "llama-2-7b -d h100-sxm-80gb --num-devices 8 --global-batch 256",
    "mixtral-8x7b -d h100-sxm-80gb --num-devices 32 --global-batch 256",
    "llama-3.1-405b -d h100-sxm-80gb --num-devices 1024 --global-batch 2048 --seq-len 8192",
)
LAYOUTS = (  # devices, options: one device, data parallel, tensor, pipeline, sharded, experts
    "",
    "",
    "--num-devices 8",
    "--num-devices 8 --tp 8",
    "--num-devices 64 --tp 4 --pp 4 --global-batch 256",
    "--num-devices 16 --sharding fsdp",
    "--num-devices 64 --sharding zero1 --tp 8",
    "--num-devices 32 --sharding zero3",
)
TRAININGS = (
    "",
    "",
    "--recompute full",
    "--recompute selective",
    "--train lora --lora-rank 16",
    "--stack eager",
    "--dtype fp8",
    "--optimizer adamw-8bit",
    "--no-master-weights",
    "--stack megatron",
    "--seq-len 512",
)


def printed(words: list[str]) -> str:
    """What the command line prints for `words`, with its exit status."""
    from roofline.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code
    return f"{out.getvalue()}{err.getvalue()}exit {status}\n"


def cases() -> list[str]:
    """300 command lines of `estimate`, the same at every call."""
    devices = (
        "h100-sxm-80gb",
        "a100-sxm-80gb",
        "b200-sxm",
        "mi300x",
        "tpu-v5p",
        "rtx-4090",
        "epyc-9654",
        "v100-sxm2-32gb",
    )
    models = presets()
    rng = random.Random(0)  # noqa: S311
    return [
        " ".join(
            f"estimate {rng.choice(models)} -d {rng.choice(devices)} {rng.choice(LAYOUTS)}"
            f" {rng.choice(TRAININGS)} --micro-batch {rng.choice((1, 2, 4))} --format json".split()
        )
        for _ in range(CASES)
    ]


def presets() -> list[str]:
    """Ids of all presets."""
    text = printed(["models", "--format", "json"]).rpartition("exit ")[0]
    rows = json.loads(text)
    rows = rows["models"] if isinstance(rows, dict) else rows
    return sorted(row["id"] for row in rows)


def main() -> None:
    """Record everything below the folder named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("runs", "memory", "budgets"):
        (folder / f"validate_{name}.csv").write_text(printed(["validate", name, "--format", "csv"]))
    for number, search in enumerate(SEARCHES):
        text = printed(["layouts", *search.split(), "--format", "json"])
        (folder / f"layouts_{number}.json").write_text(re.sub(r'"seconds": [0-9.e-]+', '"seconds": 0', text))
    (folder / "estimates.txt").write_text("".join(f"$ {line}\n{printed(line.split())}" for line in cases()))
    import update_readme

    with (folder / "examples.txt").open("w") as file:
        for page in update_readme.pages():
            for command, _ in update_readme.examples(page.read_text()):
                file.write(f"$ {page.name}: {command}\n{update_readme.run(command)}\n")


if __name__ == "__main__":
    main()
