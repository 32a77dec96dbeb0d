"""Trace the default configuration of every model type of `transformers` that is not described, without weights.

Each type's class is built on torch's meta device and one pass of it traced, in a process of its own, with limits of
memory and time; stacks of layers are cut to four, where the class takes that. The record says of each by which inputs,
or why not. Whole models are built, and their parameters recorded, by `compare_types.py`.

    python scripts/maintain/trace_types.py                    # every type that is not described
    python scripts/maintain/trace_types.py clap sam
    python scripts/maintain/trace_types.py --write            # also records the results for the test suite
    python scripts/maintain/trace_types.py --write --failed   # those that failed at the last record

Needs the `torch` extra, and timm for types whose vision tower is timm's.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import resource
import sys
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
import transformers
from compare_types import default_config

from roofline.errors import RooflineError
from roofline.tracing import architecture
from roofline.tracing.step import traced

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
RECORD, DESCRIBED = DATA / "traced_types.csv", DATA / "model_types.jsonl"
COLUMNS = ("type", "status", "class", "inputs", "idle", "why")
MEMORY, TIME = 12 * 2**30, 150  # bytes, seconds
LAYERS, DEPTHS = (
    4,
    ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers", "decoder_layers"),
)

STAGES = ("stage_names", "out_features", "out_indices")  # of a backbone: they name layers that are cut


def shallow(fields: dict[str, Any]) -> dict[str, Any]:
    """A configuration with at most four layers in each stack, and as many entries in lists of one for each layer."""
    depths = {fields[name] for name in DEPTHS if isinstance(fields.get(name), int)}
    cut: dict[str, Any] = {}
    for name, value in fields.items():
        if name in STAGES:
            continue
        if isinstance(value, dict):
            cut[name] = shallow(value)
        elif isinstance(value, list) and len(value) in depths:
            cut[name] = value[:LAYERS]
        else:
            cut[name] = min(value, LAYERS) if name in DEPTHS and isinstance(value, int) else value
    return cut


def record_of(name: str) -> dict[str, Any]:
    """What there is to record of one type: traced, built (its parameters are known), or neither."""
    record: dict[str, Any] = {"type": name, "status": "unbuilt"}
    try:
        config = default_config(name)
        for fields in (shallow(config), config):
            try:
                trace, note = traced(fields, name, "bf16")
                break
            except RooflineError as error:
                refusal = error
        else:
            built = architecture.build(config, name)
            return record | {"status": "built", "class": type(built.module).__name__, "why": _line(refusal)}
    except Exception as error:  # noqa: BLE001 (a class can raise anything)
        return record | {"why": _line(error)}
    inputs = note.partition(" with ")[2].partition(": a token")[0]
    idle = ", ".join(trace.idle) if sum(trace.idle.values()) > trace.parameters / 100 else ""
    return record | {"status": "traced", "class": trace.name, "inputs": inputs, "idle": idle}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def in_process(function: Callable[[str], dict[str, Any]], name: str) -> dict[str, Any]:
    """What a function records of a type, in a process of its own with limits of memory and time."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=_send, args=(function, name, there))
    process.start()
    there.close()
    try:
        found: dict[str, Any] = here.recv() if here.poll(TIME) else {}
    except EOFError:
        found = {}
    process.kill()
    process.join()
    return found or {"type": name, "status": "unbuilt", "why": f"more than {TIME} s or {MEMORY // 2**30} GiB"}


def _send(function: Callable[[str], dict[str, Any]], name: str, to: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    to.send(function(name))


def write(records: list[dict[str, Any]]) -> None:
    """Record the results; those of types that were not traced this time stay as they were."""
    merged = {record["type"]: record for record in [*recorded(), *records]}
    with RECORD.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged[name] for name in sorted(merged))


def recorded() -> list[dict[str, Any]]:
    """The last record."""
    if not RECORD.exists():
        return []
    with RECORD.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def main() -> int:
    """Trace, print, and record where asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("names", nargs="*", help="model types (default: all that are not described)")
    parser.add_argument("--write", action="store_true", help=f"record the results in {RECORD.name}")
    parser.add_argument("--failed", action="store_true", help="those that the record says are not traced")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    described = [json.loads(line) for line in DESCRIBED.read_text(encoding="utf-8").splitlines()]
    names = args.names or [each["type"] for each in described if each["status"] == "refused"]
    if args.failed:
        names = [each["type"] for each in recorded() if each["status"] != "traced"]
    record_of("albert")  # what the first pass imports, before the processes part
    records = []
    for name in names:
        records.append(record := in_process(record_of, name))
        print(json.dumps(record), flush=True)
        if args.write:
            write([record])
    print(dict(Counter(record["status"] for record in records)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
