"""Change the arithmetic a little, one place at a time, and see whether a test notices.

    python scripts/maintain/mutate.py                              30 changes drawn over all targets
    python scripts/maintain/mutate.py --mutants 200 --seed 3       more, other ones
    python scripts/maintain/mutate.py --target timing/schedule.py  those of one module; --all: every one of it

The tests are collected and run once as they are, to know which run which lines. Then a fork for each mutant gets the
changed code, and runs those that run its line, the module's own first and quick ones before slow ones. A mutant that
all pass is a survivor: a test is missing, or the change means nothing. Those are in survivors.csv beside this file,
each with the reason; exit status 1 where a survivor is not in it, or a mutant that is in it was noticed.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType

import coverage
import hypothesis
import pytest
from mutants import PACKAGE, Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 2**33  # of address space, for the tests of one mutant
SURVIVORS = Path(__file__).with_name("survivors.csv")
WHOLE = (
    "tests/test_properties.py",
    "tests/answers/test_estimate.py",
    "tests/answers/test_capacity.py",
    "tests/test_api.py",
)
TARGETS = (
    "search/sift.py", "search/grid.py", "search/sums.py", "search/best.py", "search/ranking.py", "search/space.py",
    "search/columns.py", "search/layout.py",
    "counting/ownership.py", "counting/stages.py", "replay.py",
    "timing/ranks.py", "timing/schedule.py", "timing/pipeline.py", "timing/kernel.py", "timing/collective.py",
    "timing/host.py", "timing/interval.py", "timing/power.py", "timing/seen.py", "timing/terms.py",
    "footprint/parts.py", "footprint/phases.py", "footprint/activations.py", "footprint/allocator.py",
    "footprint/blocks.py", "footprint/spreads.py",
)  # fmt: skip


def nearest(module: str) -> str:
    """The tests of one module alone."""
    path = Path(module)
    return f"tests/{path.parent / f'test_{path.stem}.py'}"


def tests(modules: Sequence[str], whole: bool) -> list[str]:
    """Where the tests are that should notice a change of the modules: their packages', and those of whole answers."""
    folders = {str(Path(nearest(module)).parent) for module in modules} - {"tests"}
    alone = [nearest(module) for module in modules if "/" not in module]
    return [*sorted(folders), *alone, *(WHOLE if whole else ())]


class Trial:
    """A plugin of pytest that tries mutants on the collected tests instead of running these."""

    def __init__(self, chosen: Sequence[Mutant], seconds: float, kept: Path | None) -> None:
        self.chosen, self.seconds, self.kept = chosen, seconds, kept
        self.noticed: dict[Mutant, str] = {}  # by which test; "" for none
        self.failed = sys.stdout  # where a fork tells the test that failed
        self.runs: dict[str, dict[str, list[str]]] = {}  # by module and line: the tests that run it
        self.took: dict[str, float] = {}  # seconds of each test

    def pytest_collection(self) -> None:
        """A failing example needs not become a small one."""
        usual = hypothesis.settings()
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutants", usual, phases=phases)
        hypothesis.settings.load_profile("mutants")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try each mutant, in a fork."""
        start = time.monotonic()
        items = {item.nodeid: item for item in session.items}
        if self.kept is not None and self.kept.exists():
            self.runs, self.took = json.loads(self.kept.read_text(encoding="utf-8"))
        if self.took.keys() != items.keys():  # nothing is kept, or what other tests ran
            self._watch(session.items)
        print(f"{len(items):,} tests in {sum(self.took.values()):.0f} s", flush=True)
        for mutant in self.chosen:
            if time.monotonic() - start > self.seconds:
                break
            names = self._tests_of(mutant)
            self.noticed[mutant] = self._try(mutant, [items[name] for name in names])
            if not self.noticed[mutant]:
                told(mutant, len(names))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """In a fork, the first failure decides."""
        if report.failed:
            self.failed.write(report.nodeid)
            self.failed.flush()
            os._exit(1)

    def _try(self, mutant: Mutant, items: Sequence[pytest.Item]) -> str:
        """Which of the tests notices the mutant; "" for none."""
        with tempfile.TemporaryFile("w+") as self.failed:
            limit = 10 + 5 * sum(self.took[item.nodeid] for item in items)
            if not forked(lambda: run(items, mutant), limit):
                return ""
            self.failed.seek(0)
            return self.failed.read() or "it never ends, or takes too much memory"

    def _watch(self, items: Sequence[pytest.Item]) -> None:
        """Run the tests as they are, and record which lines each runs and how long it takes."""
        paths = {str(PACKAGE / module): module for module in TARGETS}
        with tempfile.TemporaryDirectory() as folder:
            file = self.kept or Path(folder) / "runs.json"

            def watched() -> None:
                cover = coverage.Coverage(data_file=None, include=list(paths), config_file=False)
                took = {}
                cover.start()
                for item, following in zip(items, [*items[1:], None], strict=True):
                    cover.switch_context(item.nodeid)
                    began = time.process_time()
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                    took[item.nodeid] = time.process_time() - began
                cover.stop()
                runs = {module: cover.get_data().contexts_by_lineno(path) for path, module in paths.items()}
                file.write_text(json.dumps([runs, took]), encoding="utf-8")

            if forked(watched, resource.RLIM_INFINITY):
                raise RuntimeError("a test fails as things are: mend it first")
            self.runs, self.took = json.loads(file.read_text(encoding="utf-8"))

    def _tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run its line, the likeliest and quickest to notice first."""
        names = {name for name in self.runs[mutant.module].get(str(mutant.line), ()) if name}
        own, noticed = nearest(mutant.module), Counter(self.noticed.values())
        return sorted(names, key=lambda name: (-noticed[name], not name.startswith(own), self.took[name]))


def forked(work: Callable[[], object], limit: float) -> int:
    """The exit status of `work` in a fork that may take `limit` seconds of processor time."""
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit)))
            resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
            nowhere = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nowhere, stream)
            work()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(items: Sequence[pytest.Item], mutant: Mutant) -> None:
    """Run tests in this order, with the mutant's code in its function, wherever that is held."""
    code = mutant.code()
    for held in gc.get_objects():
        if (
            isinstance(held, FunctionType)
            and held.__code__.co_qualname == mutant.function
            and held.__code__.co_filename == str(mutant.path)
        ):
            held.__code__ = code
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def explained() -> dict[tuple[str, ...], str]:
    """The survivors known, with why each is one."""
    with SURVIVORS.open(encoding="utf-8", newline="") as file:
        return {tuple(row.values())[:-1]: row["why"] for row in csv.DictReader(file)}


def told(mutant: Mutant, ran: int) -> None:
    """Print a survivor."""
    which = f" (number {mutant.nth})" if mutant.nth > 1 else ""
    print(f"survives  roofline/{mutant.module}:{mutant.line} {mutant.function}, {ran} tests")
    print(f"          {mutant.before}  ->  {mutant.after}{which}")
    print(
        f"          {explained().get(mutant.key, 'NOT EXPLAINED: add a test, or a row to survivors.csv')}", flush=True
    )


def main() -> int:
    """Try a sample of mutants and list the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=30)
    parser.add_argument("--all", action="store_true", help="every mutant of the targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", action="append", choices=TARGETS, help="this module alone; may repeat")
    parser.add_argument(
        "--whole", action="store_true", help="run the tests of whole answers too, not the package's alone"
    )
    parser.add_argument("--runs", type=Path, help="keep here which test runs which line, and take it from here again")
    parser.add_argument("--seconds", type=float, default=1800, help="stop after about this long")
    args = parser.parse_args()
    modules = args.target or TARGETS
    every = [mutant for module in modules for mutant in mutants(module)]
    chosen = every if args.all else random.Random(args.seed).sample(every, min(args.mutants, len(every)))  # noqa: S311
    os.environ |= {"CI": "1", "OPENBLAS_NUM_THREADS": "1"}  # the same examples in every run
    os.chdir(ROOT)
    trial = Trial(chosen, args.seconds, args.runs)
    addopts = "-s -q --no-header --strict-markers --import-mode=importlib --assert=plain"
    status = pytest.main(
        ["-p", "no:cacheprovider", "-p", "no:randomly", "-o", f"addopts={addopts}", *tests(modules, args.whole)],
        plugins=[trial],
    )
    if status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return int(status)
    known = explained()
    survivors = [mutant for mutant, noticed in trial.noticed.items() if not noticed]
    new = [mutant for mutant in survivors if mutant.key not in known]
    noticed = [mutant for mutant in trial.noticed if trial.noticed[mutant] and mutant.key in known]
    for mutant in noticed:
        print(f"noticed by now: take {','.join(mutant.key)} from survivors.csv")
    print(
        f"{len(trial.noticed)} of {len(every):,} mutants tried, {len(trial.noticed) - len(survivors)} noticed, "
        f"{len(survivors)} survive, {len(new)} of them not explained"
    )
    return bool(new or noticed)


if __name__ == "__main__":
    sys.exit(main())
