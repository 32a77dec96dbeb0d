"""Checks the readers against a folder of real recipes with an ``index.csv`` that says what each means, cell by cell.

    python scripts/maintain/check_recipes.py FOLDER [--framework NAME] [--verbose]

Columns of the index: ``file, framework, expect, launch, num_devices, num_devices_from`` and one for each quantity
(`CELLS`); ``default:X`` is a framework's default. `expect` is ``ok``, or words such as ``needs:seq_len``,
``refuse:optimizer lion``, ``warn:offload``. Prints a table per framework: files answered or refused as
expected, cells that are right, keys that were not understood; with ``--verbose`` every difference. Exits with 1 where
anything differs.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from roofline.config.optimizer import coarse_word, optimizers
from roofline.errors import RooflineError
from roofline.readers.read import read_run
from roofline.readers.result import RunFile
from roofline.readers.vocabulary import our_word

NUMBERS = (
    "num_devices",
    "tp",
    "pp",
    "vp",
    "cp",
    "ep",
    "dp",
    "micro_batch",
    "grad_accum",
    "global_batch",
    "seq_len",
    "lora_rank",
)
WORDS = (
    "sharding",
    "dtype",
    "optimizer",
    "recompute",
    "attention",
    "sequence_parallel",
    "train",
    "quant_bits",
    "fused_loss",
)
CELLS = (*NUMBERS, "etp", *WORDS)
STAND_IN = {"model": "llama-3-8b", "seq_len": 2048, "micro_batch": 1, "global_batch": 64}
ASKED = {
    "model": "model",
    "seq_len": "sequence length",
    "micro_batch": "micro batch",
    "global_batch": "global",
    "recipe": "recipe",
}


def main() -> int:
    """Check the folder and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--framework")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    with (args.folder / "index.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if args.framework in {None, row["framework"]}]
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        problems, cells, right, unknown = check(args.folder, row)
        counts = table[row["framework"]]
        counts["files"] += 1
        counts["as expected"] += not any(problem.startswith("expect") for problem in problems)
        counts["cells"] += cells
        counts["right"] += right
        counts["not understood"] += len(unknown)
        if args.verbose and (problems or unknown):
            print(row["file"], "|", row["expect"])
            for problem in problems:
                print("   ", problem)
            if unknown:
                print("    not understood:", ", ".join(unknown))
    print(f"{'framework':<20} files  as expected  cells  right  not understood")
    for name, counts in table.items():
        print(
            f"{name:<20} {counts['files']:5}  {counts['as expected']:11}  {counts['cells']:5}  {counts['right']:5}  "
            f"{counts['not understood']:14}"
        )
    total: Counter[str] = sum(table.values(), Counter())
    print(
        f"{'all':<20} {total['files']:5}  {total['as expected']:11}  {total['cells']:5}  {total['right']:5}  "
        f"{total['not understood']:14}"
    )
    return int(total["as expected"] < total["files"] or total["right"] < total["cells"])


def check(folder: Path, row: dict[str, str]) -> tuple[list[str], int, int, list[str]]:
    """The problems of one row, its cells, those that are right, and keys not understood."""
    given: dict[str, Any] = {}
    path = folder / row["file"]
    more = companions(folder, row)
    if row["num_devices_from"] == "assumed":
        given["num_devices"] = int(row["num_devices"])
    if (launched := re.search(r"--num_processes=(\d+)", row["launch"])) is not None:
        given["num_devices"] = int(launched.group(1))
    run, error = attempt(path, more, given)
    if run is not None and row["num_devices"] and any("the file does not say how many" in note for note in run.notes):
        given["num_devices"] = int(row["num_devices"])  # said in a README or a launcher
        run, error = attempt(path, more, given)
    problems = outcome(row["expect"], run, error)
    if run is None and "needs:" in row["expect"]:
        run, second = complete(path, more, given, row)
        if run is None:
            return [*problems, f"not answered even when completed: {second}"], 0, 0, []
    if run is None:
        return problems, 0, 0, []
    cells = right = 0
    found = canonical(run)
    for name in CELLS:
        wanted = row[name].removeprefix("default:")
        wanted = str(our_word("optimizer", wanted)) if name == "optimizer" and wanted else wanted
        if not wanted or (name == "dp" and "needs:" in row["expect"]):
            continue
        if name in {"micro_batch", "global_batch", "grad_accum", "seq_len", "num_devices"} and not row[name]:
            continue
        cells += 1
        got = str(found[name])
        if got == wanted or (name == "etp" and wanted == "tp"):
            right += 1
        else:
            problems.append(f"{name}: {got} where the index has {row[name]}")
    return problems, cells, right, run.report.not_understood


def companions(folder: Path, row: dict[str, str]) -> list[Path]:
    """The launcher's file that a row names, where it lies in the folder."""
    match = re.match(r"accelerate: (?:recipes/accelerate_configs/)?([\w.]+)\.yaml", row["launch"])
    path = None if match is None else folder / Path(row["file"]).parent / f"accelerate_{match.group(1)}.yaml"
    return [path] if path is not None and path.exists() else []


def attempt(
    path: Path, more: list[Path], given: dict[str, Any], model: str | None = None
) -> tuple[RunFile | None, str]:
    """The run, or the error in its place."""
    try:
        return read_run(path, more=more, given=given, model=model), ""
    except RooflineError as error:
        return None, str(error)


def complete(path: Path, more: list[Path], given: dict[str, Any], row: dict[str, str]) -> tuple[RunFile | None, str]:
    """The run with what the file lacks filled in."""
    asked = re.findall(r"needs:(\w+)", row["expect"])
    more_given: dict[str, Any] = {}
    if "global_batch" in asked:
        more_given["global_batch"] = 16 * int(row["num_devices"] or 1)
    model = str(STAND_IN["model"]) if {"model", "recipe"} & set(asked) else None
    run, error = attempt(path, more, {**more_given, **given}, model)
    for name, option in (
        ("seq_len", "--seq-len"),
        ("micro_batch", "--micro-batch"),
        ("global_batch", "--global-batch"),
    ):
        if run is None and option in error:
            more_given[name] = STAND_IN[name]
            run, error = attempt(path, more, {**more_given, **given}, model)
    return run, error


def outcome(expect: str, run: RunFile | None, error: str) -> list[str]:
    """Whether a row was answered, refused or asked for more as expected."""
    asked = re.findall(r"needs:(\w+)", expect)
    refused = [each for each in re.findall(r"refuse:([^:]*?)(?= \w+:|$)", expect) if not _modelled(each)]
    if run is not None:
        return [f"expect {expect}: answered"] if asked or refused else []
    if refused and any(all(word in error for word in re.findall(r"\w+", each)[-1:]) for each in refused):
        return []
    lacking = [name for name in asked if ASKED[name] not in error]
    if asked and len(lacking) < len(asked):
        return []
    return [f"expect {expect}: {error}"]


def _modelled(refused: str) -> bool:
    """Whether what the index wants refused is an optimizer that has come to be modelled."""
    what, _, name = refused.partition(" ")
    return what == "optimizer" and our_word("optimizer", name) in optimizers()


def canonical(run: RunFile) -> dict[str, object]:
    """What the reader said, in the words of the index."""
    said = run.said
    micro, dp, total = said.get("micro_batch"), said.get("dp"), said.get("global_batch")
    base = said.get("base_dtype")
    return {
        **{name: said.get(name) for name in NUMBERS},
        "vp": said.get("vp") or 1,
        "ep": said.get("ep") or 1,
        "grad_accum": total // (micro * dp) if micro and dp and total else None,
        "etp": said.get("etp") or said.get("tp"),
        **{name: said.get(name) for name in WORDS},
        "optimizer": coarse_word(said["optimizer"]) if said.get("optimizer") in optimizers() else said.get("optimizer"),
        "dtype": {"mxfp8": "fp8", "nvfp4": "fp4"}.get(str(said.get("dtype")), said.get("dtype")),
        "recompute": str(said.get("recompute")).split(":")[0],
        "sequence_parallel": "yes" if said.get("sequence_parallel") else "no",
        "quant_bits": {"nf4": 4, "fp4": 4, "gptq": 4, "awq": 4, "int4": 4, "int8": 8}.get(str(base), ""),
        "fused_loss": "cross_entropy" if said.get("fused_loss") == "linear" else "none",
    }


if __name__ == "__main__":
    sys.exit(main())
