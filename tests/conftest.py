"""What tests share: running the command line in this process, and a command made up for testing."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

from roofline import cli
from roofline.commands.output import add_format_arguments, emit
from roofline.commands.parser import COMMANDS
from roofline.view.table import Cell, Table

from .kineto import kineto, profiled, two_steps  # noqa: F401  (fixtures)

# the machines that run this are shared and noisy: no test fails for being slow, nor where most of what is drawn is what
# a framework refuses; in CI every run draws the same examples
_NO_MATTER = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile("roofline", deadline=None, suppress_health_check=_NO_MATTER)
settings.register_profile("ci", settings.get_profile("roofline"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "roofline")


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch):
    """The same output wherever tests run: no colour, 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def run(capsys) -> Callable[..., Result]:
    """Run the command line: ``run("estimate", "gpt2-xl")`` -> status, standard output, standard error."""

    def run_command(*arguments: str) -> Result:
        capsys.readouterr()
        status = cli.main(arguments)
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run_command


@pytest.fixture
def printed(run) -> Callable[..., str]:
    """Run the command line, which must end well: ``printed("estimate", "gpt2-xl")`` -> standard output."""

    def print_command(*arguments: str, statuses: tuple[int, ...] = (0,)) -> str:
        result = run(*arguments)
        assert result.status in statuses, result.err
        return result.out

    return print_command


@pytest.fixture
def answered(printed) -> Callable[..., Any]:
    """The same with ``--format json``, read."""
    return lambda *arguments, **statuses: json.loads(printed(*arguments, "--format", "json", **statuses))


@pytest.fixture
def refused(run) -> Callable[..., str]:
    """Run a command line that is bad input: ``refused("estimate", "gpt2-xxl")`` -> standard error, one line."""

    def refuse_command(*arguments: str) -> str:
        status, out, err = run(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert err.startswith("roofline: error: ")
        return err

    return refuse_command


def _configure(parser: argparse.ArgumentParser) -> None:
    from roofline import units

    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("-d", "--device", required=True)
    parser.add_argument("--micro-batch", type=units.positive_int, default=1)
    parser.add_argument("--dtype", choices=("fp16", "bf16"), default="bf16")
    parser.add_argument("--fail", action="store_true")
    add_format_arguments(parser)


def _run(args: argparse.Namespace) -> int:
    if args.fail:
        raise KeyboardInterrupt
    table = Table("Step", ("what", "time"), [(args.model, Cell(args.micro_batch / 4, "soon"))], keys=("op", "time_s"))
    emit(args, {"model": args.model, "time_s": args.micro_batch / 4}, [table], ["Told by a test."])
    return 0


@pytest.fixture
def probe(monkeypatch) -> str:
    """A command ``probe MODEL -d DEVICE`` with one option of each kind."""
    module = ModuleType("roofline.commands.probe")
    module.configure, module.run = _configure, _run
    module.EXAMPLES = ("roofline probe gpt2 -d t4", "roofline probe gpt2 -d t4 --format json")
    monkeypatch.setitem(sys.modules, "roofline.commands.probe", module)
    monkeypatch.setitem(COMMANDS, "probe", "a command for tests")
    return "probe"
