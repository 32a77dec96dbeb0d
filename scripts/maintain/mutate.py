"""Change one operator, constant or branch of the arithmetic at a time, and see whether a test notices.

    python scripts/maintain/mutate.py                              30 mutants over all targets
    python scripts/maintain/mutate.py --mutants 200 --seed 3       more, other ones
    python scripts/maintain/mutate.py --target timing/schedule.py  those of one module; --all: every one of it

Works on a copy, with a fork for each mutant. The module's own tests run first, then its package's and those of whole
answers. A mutant that all pass is a survivor: a test is missing, or the change means nothing. Those are in
survivors.csv beside this file, each with the reason; exit status 1 where a survivor is not in it.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import copy
import csv
import importlib
import os
import py_compile
import random
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 300  # of processor time, for the tests of one mutant: a busy machine makes none look endless
MOST_BYTES = 2**33  # of address space, likewise
SURVIVORS = Path(__file__).with_name("survivors.csv")
WHOLE = (
    "tests/test_properties.py",
    "tests/answers/test_estimate.py",
    "tests/answers/test_capacity.py",
    "tests/test_api.py",
)
TARGETS = {  # module -> tests that should notice, nearest first
    "timing/schedule.py": ("tests/timing/test_schedule.py", "tests/timing", *WHOLE),
    "timing/kernel.py": ("tests/timing/test_kernel.py", "tests/timing", *WHOLE),
    "timing/collective.py": ("tests/timing/test_collective.py", "tests/timing", *WHOLE),
    "timing/ranks.py": ("tests/timing/test_ranks.py", "tests/timing", *WHOLE),
    "footprint/parts.py": ("tests/footprint/test_parts.py", "tests/footprint", *WHOLE),
    "counting/ownership.py": ("tests/counting/test_ownership.py", "tests/counting", "tests/footprint", *WHOLE),
    "counting/stages.py": ("tests/counting/test_stages.py", "tests/counting", *WHOLE),
    "search/ranking.py": ("tests/search/test_ranking.py", "tests/search", *WHOLE),
    "search/grid.py": ("tests/search/test_grid.py", "tests/search", *WHOLE),
    "search/sums.py": ("tests/search/test_sums.py", "tests/search/test_grid.py", "tests/search", *WHOLE),
    "search/sift.py": ("tests/search/test_sift.py", "tests/search", *WHOLE),
    "search/best.py": ("tests/search/test_best.py", "tests/search", *WHOLE),
    "footprint/phases.py": ("tests/footprint/test_phases.py", "tests/footprint", *WHOLE),
    "footprint/activations.py": ("tests/footprint/test_activations.py", "tests/footprint", *WHOLE),
    "replay.py": ("tests/test_replay.py", *WHOLE),
}
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_NAMES = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "ceil": "floor", "floor": "ceil"}


class Mutant(msgspec.Struct, frozen=True):
    """One change: where, what stood there and what stands there now."""

    module: str
    function: str
    line: int
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from others, wherever its line moves."""
        return (self.module, self.function, self.before, self.after)


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Each node that may stand in place of `node`."""
    match node:
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in _SWAPS:
            if not isinstance(node, ast.BinOp) or not any(
                isinstance(side, ast.Constant) and isinstance(side.value, str) for side in (node.left, node.right)
            ):
                changed = copy.copy(node)
                changed.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
                yield changed
        case ast.Compare() if type(node.ops[0]) in _SWAPS:
            changed = copy.copy(node)
            changed.ops = [_SWAPS[type(node.ops[0])](), *node.ops[1:]]  # type: ignore[list-item]
            yield changed
        case ast.Constant(value=bool()):
            yield ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield ast.Constant(node.value + 1 if node.value else 10**9)  # a byte more would be seen by nobody
        case ast.IfExp():
            yield ast.IfExp(test=node.test, body=node.orelse, orelse=node.body)
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.Name(id=name) if name in _NAMES:
            yield ast.Name(_NAMES[name], node.ctx)
        case ast.If() if not node.orelse:
            yield ast.If(test=ast.Constant(False), body=node.body, orelse=[])


def replaced(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    """Put `new` where `old` stands."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])


def mutants(module: str) -> list[Mutant]:
    """Every mutant of a module: of what its functions compute, not of annotations, defaults and texts."""
    text = (ROOT / "roofline" / module).read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = []
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        if any(
            isinstance(node, ast.FunctionDef) and node is not function and function in ast.walk(node)
            for node in ast.walk(tree)
        ):
            continue  # inside another, which has it
        for node in [inner for statement in function.body for inner in ast.walk(statement)]:
            for new in changes(node):
                ast.copy_location(new, node)
                before = ast.unparse(node).splitlines()[0]
                replaced(tree, node, new)
                source = ast.unparse(ast.fix_missing_locations(tree))
                after = ast.unparse(new).splitlines()[0]
                replaced(tree, new, node)
                found.append(Mutant(module, function.name, node.lineno, before, after, source))
    return found


def prepared(copied: Path) -> None:
    """Copy what the tests need, compiled, and have this process import from there what its forks all use."""
    for name in ("roofline", "hardware", "tests", "scripts", "docs", "pyproject.toml", "README.md"):
        source = ROOT / name
        shutil.copytree(source, copied / name) if source.is_dir() else shutil.copy(source, copied / name)
    compileall.compile_dir(copied, quiet=1, force=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    os.environ |= {"PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1", "CI": "1"}
    os.chdir(copied)
    sys.path.insert(0, str(copied))
    for name in ("hypothesis", "numpy", "pytest"):  # nothing of roofline
        importlib.import_module(name)


def noticed(mutant: Mutant, copied: Path, nearest: bool) -> bool:
    """Whether a test fails on the mutant, or never ends: in a fork, so that a mutant costs no start."""
    target = copied / "roofline" / mutant.module
    kept = target.read_text(encoding="utf-8")
    target.write_text(mutant.source, encoding="utf-8")
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "--no-header", "--assert=plain"]
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_S, LONGEST_S))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        os._exit(sys.modules["pytest"].main([*options, *TARGETS[mutant.module][: 1 if nearest else None]]))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    target.write_text(kept, encoding="utf-8")
    if status > 2:  # wrong use, or no tests
        raise RuntimeError(f"{mutant.module}: pytest ends with {status}")
    return status != 0


def explained() -> dict[tuple[str, ...], str]:
    """The survivors known, with why each is one."""
    with SURVIVORS.open(encoding="utf-8", newline="") as file:
        return {
            (row["module"], row["function"], row["before"], row["after"]): row["why"] for row in csv.DictReader(file)
        }


def main() -> int:
    """Try a sample of mutants and list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=30)
    parser.add_argument("--all", action="store_true", help="every mutant of the targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=TARGETS, help="this module alone; may repeat")
    parser.add_argument(
        "--nearest", action="store_true", help="run the module's own tests alone: quicker, and stricter"
    )
    parser.add_argument("--seconds", type=float, default=1800, help="stop after about this long")
    args = parser.parse_args()
    every = [mutant for module in args.target or TARGETS for mutant in mutants(module)]
    chosen = every if args.all else random.Random(args.seed).sample(every, min(args.mutants, len(every)))  # noqa: S311
    known, start = explained(), time.monotonic()
    ran, killed, new = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder)
        prepared(copied)
        for mutant in chosen:
            if time.monotonic() - start > args.seconds:
                break
            ran += 1
            if noticed(mutant, copied, args.nearest):
                killed += 1
                continue
            why = known.get(mutant.key)
            new += why is None
            print(f"survives  roofline/{mutant.module}:{mutant.line} {mutant.function}")
            print(f"          {mutant.before}  ->  {mutant.after}")
            print(f"          {why or 'NOT EXPLAINED: add a test, or a row to survivors.csv'}", flush=True)
    print(
        f"{ran} of {len(every):,} mutants tried, {killed} noticed, {ran - killed} survive, {new} of them not explained"
    )
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())
