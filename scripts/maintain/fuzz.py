"""Throw what nobody would type at the command line, the readers and the functions; list what ends as it should not.

    python scripts/maintain/fuzz.py                         200 cases of each kind
    python scripts/maintain/fuzz.py --cases 2000 --seed 7   more of them, other ones
    python scripts/maintain/fuzz.py --only toml:17          one case again, with its traceback

A case is made from its seed and number alone. What should hold: nothing raises but RooflineError; the exit status is
0, 2 or 3; an error is one line; figures are in order; and every case ends within seconds in bounded memory. Findings
are gathered by kind and place; exit status 1 if there are any.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fuzz_files

import roofline
from roofline import cli
from roofline.commands.parser import COMMANDS, command_parser
from roofline.hardware.catalog import facts
from roofline.reading import packaged

LONGEST_S = 20.0  # of processor time for one case: a busy machine makes none look endless
MEMORY = 6 * 2**30  # bytes of address space
LEFT_OUT = {"calibrate", "detect"}  # they measure or ask this machine
OFTEN = ("estimate", "memory", "count", "compare", "layouts", "plan", "mfu", "devices", "models", "stacks")
WEIRD = (
    "", " ", "-", "--", "0", "-1", "1", "2", "7", "64", "1e3", "1e308", "1e-308", "9" * 400, "nan", "inf", "-inf",
    "1/0", "None", "true", "1,2,3", "1:64", "64:1", "1,,2", "1:2:3:4", "1k", "80GiB", "7d", "1T", "100%", "bf16",
    "fp8", "int8", "bf16=989", "gpt2", "llama-3-8b", "mixtral-8x7b", "7B", "0.001B", "h100-sxm-80gb", "h100", "local",
    "t4", "tpu-v5e", "megatron", "jax", "full", "none", "selective", "fsdp", "zero3", "x" * 5000, "\x1b[2J", "\x00",
    "\ud800", "é模型", "../..", "/dev/null", "/", ".", "x.toml", "x.json", "C:\\x.toml", "file.py:build", "a=b",
    "n_layers=0", "n_layers=[[1]]", "d_ff=1e30", "[", "{", "'", '"',
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 7, 64, 10**6, -1, 10**30, 10**308, 0.5, -0.0, 1e308, 1e-308, math.nan, math.inf,
    "", "x", "gelu", "1", "nan", "x" * 5000, "\x1b[2J", [], [1], [0] * 300, [[1]], {}, {"a": 1},
    {"a": {"a": {"a": []}}}, [None], ["full_attention"],
)  # fmt: skip
LITERALS = (
    "0", "1", "-1", "1e308", "1" + "0" * 40, "nan", "inf", "true", '""', '"x"', '"assumes"', "[]", "[1, 2]", "[[1]]",
    "{}", "{ a = 1 }", "1979-05-27", '"' + "x" * 3000 + '"', '"\\u001b[2J"', "[" * 50 + "]" * 50, "0.5", "7", "64",
    "1000000", '"i + 1"', '"[0 for a in range(100000) for b in range(100000) if 0]"', '"1+1+1"', '"i % 0"', "[0, 1]",
    "= =",
)  # fmt: skip


class Slow(BaseException):
    """A case that takes longer than it may."""


def ticked(_signal: int, _frame: object) -> None:
    """Stop the case that runs."""
    raise Slow


# --- making cases -----------------------------------------------------------------------------------------


def command_line(draw: random.Random) -> list[str]:
    """An example of a command, with words changed, dropped and added."""
    name = draw.choice(OFTEN if draw.random() < 0.9 else [n for n in COMMANDS if n not in LEFT_OUT])
    parser, module = command_parser(name)
    words = shlex.split(draw.choice(module.EXAMPLES).split("|")[0], comments=True)[1:]
    options = [action for action in parser._actions if action.option_strings and action.nargs != 0]  # noqa: SLF001
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(1, len(words) + 1)
        match draw.randrange(5):
            case 0 if place < len(words):
                words[place] = draw.choice(WEIRD)
            case 1 if place < len(words):
                del words[place]
            case 2 if place < len(words):
                words.insert(place, words[place])
            case 3:
                words.insert(place, draw.choice(WEIRD))
            case _ if options:
                action = draw.choice(options)
                choices = [str(choice) for choice in action.choices or ()]
                value = draw.choice(choices) if choices and draw.random() < 0.7 else draw.choice(WEIRD)
                words += [draw.choice(action.option_strings), value]
    return [
        "-" if word.startswith(("/", "..")) and words[i - 1] in {"-o", "--output"} else word
        for i, word in enumerate(words)
    ]


def recorded_configs() -> list[dict[str, Any]]:
    """The config.json of each model type that the tests know."""
    path = Path(__file__).resolve().parents[2] / "tests" / "data" / "transformers_counts.jsonl"
    return [json.loads(line)["config"] for line in path.read_text(encoding="utf-8").splitlines()]


def config(draw: random.Random) -> list[str]:
    """A config.json with fields changed, dropped, nested and added."""
    values = dict(draw.choice(CONFIGS))
    for _ in range(draw.randint(1, 4)):
        key = draw.choice(sorted(values, key=str)) if values else "model_type"
        match draw.randrange(5):
            case 0:
                values.pop(key, None)
            case 1:
                values[key] = str(values.get(key))
            case 2:
                values = {"model_type": draw.choice(["llava", "x", "qwen2_vl"]), "text_config": values}
            case _:
                values[key] = draw.choice(VALUES)
    Path("config.json").write_text(json.dumps(values), encoding="utf-8")
    command = draw.choice(
        [["count"], ["models"], ["memory", "-d", "h100-sxm-80gb"], ["estimate", "-d", "a100-sxm-80gb"]]
    )
    return [command[0], "config.json", *command[1:], "--format", draw.choice(["table", "json", "csv", "markdown"])]


def toml(draw: random.Random) -> list[str]:
    """A device, model or stack file with lines changed, dropped, doubled and added."""
    kind = draw.choice(list(TOMLS))
    lines = draw.choice(TOMLS[kind]).read_text(encoding="utf-8").splitlines()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(lines))
        key, equals, _ = lines[place].partition("=")
        match draw.randrange(6):
            case 0:
                del lines[place]
            case 1:
                lines.insert(place, lines[place])
            case 2:
                lines.insert(
                    place, draw.choice(["[x]", "[[wrong]]", "[[variations]]", "a.a.a = 1", "x = 1", "\x00", "["])
                )
            case _ if equals:
                lines[place] = f"{key}= {draw.choice(LITERALS)}"
        lines = lines or ["x = 1"]
    Path("x.toml").write_text("\n".join(lines), encoding="utf-8")
    estimate = ["estimate", "gpt2", "--micro-batch", "2", "-d"]
    return draw.choice({
        "device": [["devices", "x.toml"], [*estimate, "x.toml"], [*estimate, "x.toml", "--num-devices", "16"]],
        "model": [["count", "x.toml"], ["models", "x.toml"], ["estimate", "x.toml", "-d", "h100-sxm-80gb"]],
        "stack": [["stacks", "x.toml"], [*estimate, "h100-sxm-80gb", "--stack", "x.toml"]],
    }[kind])  # fmt: skip


def table(draw: random.Random) -> list[str]:
    """A few rows of a packaged table of measurements, with cells changed."""
    what = draw.choice(["runs", "memory", "budgets"])
    lines = (
        (packaged("roofline.validation.runs", "data") / f"published_{what}.csv")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    rows = [line.split(",") for line in [lines[0], *draw.sample(lines[1:], 3)]]
    for _ in range(draw.randint(1, 6)):
        row = draw.choice(rows if draw.random() < 0.2 else rows[1:])
        row[draw.randrange(len(row))] = draw.choice([*WEIRD, "9e49", "=cmd|x", '"', "\n"])
        if draw.random() < 0.1:
            row += ["more"] if draw.random() < 0.5 else []
            del row[draw.randrange(len(row)) :]
            row += ["x"]
    Path("x.csv").write_text("\n".join(",".join(row) for row in rows), encoding="utf-8", errors="surrogatepass")
    return ["validate", what, "--data", "x.csv", "--format", draw.choice(["table", "csv", "json"])]


NEW = {
    "--pp-layout": (
        "7,8,8,7",
        "Et*7|t*8|t*8|t*7L",
        "t*999999999|L",
        "6,6",
        "1,1,1",
        "E|t*12|L",
        "|||",
        "t*-1",
        "9" * 99,
    ),
    "--optimizer": ("adamw", "muon", "adamw8bit", "sgd", "adafactor", "lion", "x"),
    "--offload": ("optimizer", "all", "none", "params", "activations", "optimizer,activations", "x,x"),
    "--moment-dtype": ("fp32", "bf16", "fp8", "int4", "x"),
    "--jobs": ("1", "0", "-1", "x", "1e9"),
    "--record": ("x.csv", "x.parquet", "x.txt", ".", "/dev/null", "x" * 300 + ".csv", "no/x.csv", ""),
    "--host-memory": ("1TB", "0", "1e300", "x"),
    "--schedule": ("1f1b", "zb-h1", "gpipe", "interleaved", "dualpipe"),
}


def surface(draw: random.Random) -> list[str]:
    """The newest options with words that they take, and words that they do not."""
    line = draw.choice([
        ["layouts", "gpt2", "-d", "h100-sxm-80gb", "--num-devices", "2", "--global-batch", "16", "--micro-batch", "1"],
        ["estimate", "gpt2", "-d", "h100-sxm-80gb", "--num-devices", "4", "--pp", draw.choice(["1", "2", "4"])],
        ["memory", "llama-3-8b", "-d", "a100-sxm-80gb", "--num-devices", "8"],
        ["compare", "gpt2", "-d", "h100-sxm-80gb", "--optimizer", "adamw,muon"],
        ["report", "gpt2", "-d", "h100-sxm-80gb", "-o", "x.html"],
        ["plot", "gpt2", "-d", "h100-sxm-80gb", "--kind", draw.choice(["timeline", "layouts"]), "-o", "x.svg",
         "--num-devices", "4", "--pp", "2"],
    ])  # fmt: skip
    for option in draw.sample(sorted(NEW), draw.randint(1, 3)):
        line += [option, draw.choice([*NEW[option], *NEW[option], draw.choice(WEIRD)])]
    return line


def python_call(draw: random.Random) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A function with its arguments, some of them odd."""
    name, more = draw.choice([
        ("estimate", {}), ("memory", {}), ("compare", {}), ("layouts", {"num_devices": 8, "top": 2}), ("count", {}),
        ("plan", {"tokens": "1T"}), ("infer", {"phase": "decode"}), ("diagnose", {"tokens_per_s": 1e4}),
        ("load_device", {}), ("load_model", {}),
    ])  # fmt: skip
    device = [draw.choice(["h100-sxm-80gb", "tpu-v4", "rtx-4090", "mi300x", "t4"])]
    model = [draw.choice(["gpt2", "llama-3-8b", "mixtral-8x7b", "vit-b16", "mamba-130m"])]
    arguments: list[Any] = (
        device if name == "load_device" else model + (device if name not in {"count", "load_model"} else [])
    )
    keywords = dict(more)
    for _ in range(0 if name.startswith("load_") else draw.randint(1, 3)):
        keywords[draw.choice(roofline.TrainConfig.__struct_fields__)] = draw.choice([*VALUES, *WEIRD[:60]])
    if draw.random() < 0.3 or name.startswith("load_"):
        arguments[draw.randrange(len(arguments))] = draw.choice([*VALUES, *WEIRD])
    return name, tuple(arguments), keywords


# --- running them, and what should hold -------------------------------------------------------------------


answered = [0]  # cases that came to a result: what is refused at the door tests little


def run_command(arguments: list[str]) -> str:
    """What is wrong with how a command line ended; "" for nothing."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = cli.main(["--debug", *arguments])
    told = err.getvalue()
    if status in {0, 3}:
        answered[0] += 1
        shown = out.getvalue().replace("\n", "")
        return "" if shown.isprintable() else "control characters in the output"
    line = told.strip().splitlines()[-1] if told.strip() else ""
    if status != 2 or not line.startswith("roofline: error: "):
        where = [text.strip() for text in told.splitlines() if text.strip().startswith("File ")]
        return f"status {status}: {line[:160]} {where[-1] if where else ''}"
    return "" if len(line) < 3200 and not out.getvalue() else "a long message, or output beside it"


def run_python(name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
    """What is wrong with how a call ended; "" for nothing."""
    try:
        result = getattr(roofline, name)(*arguments, **keywords)
    except roofline.RooflineError as error:
        return "" if len(str(error)) < 20_000 else "a long message"
    except Exception as error:  # noqa: BLE001 (that is what is looked for)
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {str(error)[:120]} ({last.filename.rsplit('roofline/', 1)[-1]}:{last.lineno})"
    answered[0] += 1
    if name == "estimate" and not isinstance(result.step_time_s, float | int):
        return ""  # an array was given: an array of answers
    if name == "estimate":
        if not 0 < result.step_time_low_s <= result.step_time_s <= result.step_time_high_s < math.inf:
            return f"step times out of order: {result.step_time_low_s, result.step_time_s, result.step_time_high_s}"
        if not 0 < result.mfu <= result.hfu * (1 + 1e-9) <= 1 + 1e-9:
            return f"mfu {result.mfu}, hfu {result.hfu}"
    return ""


KINDS: dict[str, Callable[[random.Random], Any]] = {
    "command": command_line,
    "config": config,
    "toml": toml,
    "csv": table,
    "database": fuzz_files.database,
    "trace": fuzz_files.trace,
    "log": fuzz_files.log,
    "run": fuzz_files.run_file,
    "surface": surface,
    "python": python_call,
}
CONFIGS = recorded_configs()
TOMLS = {
    "device": sorted(Path(str(facts() / "devices")).iterdir()),
    "model": sorted(Path(str(packaged("roofline.model.load", "presets"))).iterdir()),
    "stack": sorted(Path(str(packaged("roofline.config.stack", "stacks"))).iterdir()),
}


def one_case(kind: str, number: int, seed: int, longest_s: float = LONGEST_S) -> tuple[Any, str]:
    """Make and run a case in the working folder: what it is, and what is wrong ("" for nothing)."""
    case = KINDS[kind](random.Random(f"{seed}:{kind}:{number}"))  # noqa: S311
    signal.setitimer(signal.ITIMER_PROF, longest_s)
    try:
        return case, run_python(*case) if kind == "python" else run_command(case)
    except Slow:
        return case, f"took more than {longest_s:g} s of processor time"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def cases(args: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """The kinds and numbers to run."""
    if args.only:
        kind, _, number = args.only.partition(":")
        yield kind, int(number)
        return
    for kind in args.kind or KINDS:
        yield from ((kind, number) for number in range(args.cases))


def main() -> int:
    """Run the cases and list the findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=200, help="of each kind")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after about this long")
    parser.add_argument("--kind", action="append", choices=KINDS, help="this kind alone; may repeat")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one case, with its traceback")
    args = parser.parse_args()
    signal.signal(signal.SIGPROF, ticked)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
    os.environ.update(COLUMNS="100", NO_COLOR="1")
    found: dict[str, list[str]] = {}
    ran: dict[str, int] = {}
    slowest, start = (0.0, ""), time.monotonic()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for kind, number in cases(args):
            if time.monotonic() - start > args.seconds:
                continue
            began = time.monotonic()
            case, problem = one_case(kind, number, args.seed)
            slowest = max(slowest, (time.monotonic() - began, f"{kind}:{number}"))
            ran[kind] = ran.get(kind, 0) + 1
            if args.only:
                print(f"{case!r:.2000}\n{problem or 'as it should'}")
            if problem:
                found.setdefault(f"{kind}: {problem}", []).append(f"{kind}:{number}")
    counts = ", ".join(f"{count:,} of {kind}" for kind, count in ran.items())
    print(f"ran {counts} (seed {args.seed}); {answered[0]:,} came to a result")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"slowest: {slowest[1]} in {slowest[0]:.1f} s; peak {peak:.0f} MiB")
    for problem, numbers in sorted(found.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers):4d}  {problem}\n      {' '.join(numbers[:5])}")
    print(f"{len(found)} findings" if found else "nothing found")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
