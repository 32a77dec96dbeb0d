"""Asks every command about every preset and every recorded config: each answers, or refuses in one line.

    python scripts/maintain/sweep_models.py [--every N]

A refusal exits with 2, an answer with 0, what does not fit with 3. Anything else is printed, and the exit status is 1;
so is a traceback, or an answer of more than one line of error. ``--every N`` takes each N-th model.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import roofline
from roofline import cli

RECORDS = Path(__file__).parents[2] / "tests" / "data"
DEVICE = ("-d", "h100-sxm-80gb")
SEARCH = ("--num-devices", "8", "--micro-batch", "1")
QUESTIONS = {  # what is asked, as words around the model
    "count": ("count",),
    "estimate": ("estimate", *DEVICE),
    "decode": ("estimate", *DEVICE, "--phase", "decode"),
    "memory": ("memory", *DEVICE, "--num-devices", "8"),
    "compare": ("compare", *DEVICE, "--micro-batch", "1,2"),
    "mfu": ("mfu", *DEVICE, "--step-time", "10"),
    "layouts": ("layouts", *DEVICE, *SEARCH, "--global-batch", "16", "--recompute", "full"),
    "plan": ("plan", *DEVICE, *SEARCH, "--tokens", "1B", "--tp", "8"),
}
ANSWERED, REFUSED, DOES_NOT_FIT = 0, 2, 3


def models(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and what to type of every preset, and of every recorded config, which is written to `folder`."""
    for name in roofline.model_ids():
        yield name, name
    for table in ("hub_configs.jsonl", "transformers_counts.jsonl"):
        for line in (RECORDS / table).read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            path = folder / table.partition(".")[0] / record["name"] / "config.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(record["config"]), encoding="utf-8")
            yield f"{table}: {record['name']}", str(path)


def ask(question: str, model: str) -> tuple[int, str]:
    """The exit status of a question about a model, and what is wrong with how it ended; empty where nothing is."""
    command, *options = QUESTIONS[question]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main([command, model, *options])
    errors = err.getvalue().strip().splitlines()
    if status not in {ANSWERED, REFUSED, DOES_NOT_FIT}:
        return status, f"exit status {status}: {errors[-1] if errors else ''}"
    if status == REFUSED and len(errors) != 1:
        return status, f"{len(errors)} lines of error"
    return status, "" if status == REFUSED or out.getvalue().strip() else "no answer"


def main() -> int:
    """Ask everything; print what went wrong, and how often which command answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    ended: Counter[tuple[str, int]] = Counter()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        chosen = list(models(Path(folder)))[:: args.every]
        for name, typed in chosen:
            for question in QUESTIONS:
                status, problem = ask(question, typed)
                ended[question, status] += 1
                if problem:
                    wrong += 1
                    print(f"{question}, {name}: {problem}", flush=True)
    print(f"{len(chosen)} models, {len(QUESTIONS)} questions each, {wrong} ended wrongly")
    for question in QUESTIONS:
        counts = [ended[question, status] for status in (ANSWERED, DOES_NOT_FIT, REFUSED)]
        print(f"  {question:8s} answered {counts[0]:4d}, does not fit {counts[1]:4d}, refused {counts[2]:4d}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
