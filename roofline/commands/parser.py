"""The table of commands, and a parser whose errors are one line each and name the nearest allowed word."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

from ..errors import RooflineError, nearest
from .terminal import columns

_SYNONYMS = {  # our option: what other tools of the field call it
    "--num-devices": "-n --gpus --num-gpus --n-gpus --devices --world-size",
    "--device": "--gpu --hardware --accelerator",
    "--devices-per-node": "--gpus-per-node --nproc-per-node",
    "--micro-batch": "-b --batch --batch-size --mbs",
    "--global-batch": "--gbs --train-batch-size",
    "--seq-len": "-s --seq --seqlen --sequence-length --context --context-length",
    "--dtype": "--precision --bf16 --fp16 --fp8",
    "--recompute": "--checkpointing --gradient-checkpointing --activation-checkpointing",
    "--sharding": "--zero --zero-stage --fsdp",
    "--price": "--cost",
}
_MEANT = {name: option for option, names in _SYNONYMS.items() for name in names.split()}


def is_negative(text: str) -> bool:
    """Whether an argument is a number below zero rather than an option."""
    return re.match(r"-(\.?\d|inf|nan)", text, re.IGNORECASE) is not None


# question -> command -> its line in `roofline --help`, in the order of that page; each is the module of its name
QUESTIONS: dict[str, dict[str, str]] = {
    "How fast, and why": {
        "estimate": "step time, MFU and memory of a training run, and what limits it",
        "count": "parameters, FLOPs and bytes of a model, op by op",
        "memory": "bytes per device: does it fit, and the largest micro batch that does",
        "report": "one page to share: the answer, why, what else could be, and what it rests on",
        "plot": "rooflines, waterfall, memory and MFU against batch, as PNG, SVG or PDF",
    },
    "What to run": {
        "plan": "days, device-hours, energy and cost; the devices a deadline needs; what to train",
        "layouts": "the fastest parallel layouts for a number of devices",
        "compare": "models, devices and settings side by side",
    },
    "Is my run good": {
        "mfu": "the MFU of a run you measured, whether that is good, and what costs most",
        "profile": "a profiler's trace: measured kernels beside expected ones, biggest gaps first",
    },
    "What is known": {
        "devices": "the catalog of devices; or one, each figure with its source",
        "models": "the model presets; or one, with its shape",
        "stacks": "the software profiles: what each fuses, overlaps and launches",
    },
    "This machine, and our accuracy": {
        "detect": "the GPUs and CPU of this machine, matched to the catalog",
        "calibrate": "measure this machine and write a device file",
        "validate": "the estimator's error against published measurements",
        "completion": "a script with which bash, zsh or fish completes commands, options and names",
    },
}
COMMANDS = {name: summary for group in QUESTIONS.values() for name, summary in group.items()}


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal, with argparse's margin; argparse makes one of these for every option.

    An action may have its help `filled` by a function: words of tables that are read for nothing else.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=columns(80) - 2)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        filled = getattr(action, "filled", None)
        return action.help if filled is None else filled()


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line each and name the nearest allowed word."""

    def error(self, message: str) -> NoReturn:
        """Raise a RooflineError: the flag, what was wrong, and where help is."""
        message = message.removeprefix("argument ")
        message = re.sub(r"^-\w/(--\S+?)(/|:)", r"\1\2", message)
        message = message.replace("expected one argument", "a value is missing")
        message = message.replace("the following arguments are required:", "missing")
        raise RooflineError(f"{message} (see '{self.prog} --help')")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write help, and let a full disk be the error that argparse hides."""
        (file or sys.stdout).write(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        allowed = [str(choice) for choice in action.choices]
        close = nearest(str(value), allowed, count=1)
        hint = f": did you mean {close[0]!r}?" if close else ""
        raise argparse.ArgumentError(action, f"unknown value {value!r}{hint} (allowed: {', '.join(allowed)})")

    def short_usage(self) -> str:
        """What must be given; the options, described below it, are too many to spell out."""
        words = [self.prog]
        for action in self._actions:
            name = str(action.metavar or action.dest.upper())
            if not action.option_strings:
                words.append(
                    {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [...]"}.get(str(action.nargs), name)
                )
            elif action.required:
                words.append(f"{action.option_strings[0]} {name}")
        return " ".join([*words, "[options]"])

    def has(self, option: str) -> bool:
        """Whether there is such an option."""
        return option in self._option_string_actions

    def _beside(self, name: str) -> str | None:
        """The option whose description names that of a framework, with hyphens or underscores; None: none does."""
        plain = name.lstrip("-").replace("-", "_")
        for action in self._actions:
            named = re.findall(r"--([\w-]+)|(\w+_\w+)", action.help or "")
            if plain in {word.replace("-", "_") for words in named for word in words}:
                return action.option_strings[0] if action.option_strings else None
        return None

    def check_options(self, arguments: Iterable[str]) -> None:
        """Reject an unknown option before its value can be taken for something else."""
        known = self._option_string_actions
        for argument in arguments:
            if argument == "--":
                return
            name = argument.split("=", 1)[0]
            if not name.startswith("-") or name == "-" or name in known or is_negative(name):
                continue
            if not name.startswith("--") and name[:2] in known:  # -dh100-sxm-80gb
                continue
            long = [option for option in known if option.startswith("--")]
            close = [_MEANT[name]] if name in _MEANT else nearest(name, long, count=1)
            hint = f": did you mean {close[0]}?" if close and close[0] in known else ""
            if theirs := self._beside(name):
                hint = f": it is {theirs} here"
            elif name not in _MEANT and (others := [each for each in COMMANDS if command_parser(each)[0].has(name)]):
                hint = f": an option of {', '.join(others[:3])}"
            self.error(f"unknown option {name}{hint}")


def command_parser(name: str) -> tuple[Parser, Any]:
    """The parser of one command, and the module that runs it."""
    summary = COMMANDS[name]
    module = import_module(f".{name}", __package__)
    parser = Parser(
        prog=f"roofline {name}",
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + "\n".join(f"  {example}" for example in module.EXAMPLES),
        formatter_class=_Help,
        allow_abbrev=False,
    )
    module.configure(parser)
    parser.usage = parser.short_usage()
    return parser, module
