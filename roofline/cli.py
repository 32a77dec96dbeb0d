"""The command line: finds the command, imports only its module, and turns every error into one line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from . import __version__
from .commands.parser import COMMANDS, NEGATIVE, QUESTIONS, command_parser
from .errors import RooflineError, nearest

USAGE_STATUS = 2  # bad input; a result that does not fit in memory exits with 3


def overview() -> str:
    """The page of ``roofline --help``: the commands, grouped by the question they answer."""
    lines = ["Know your step time before you rent the GPUs.", "", "usage: roofline COMMAND [MODEL] [options]"]
    for question, commands in QUESTIONS.items():
        lines += ["", question, *(f"  {name:<10} {command.summary}" for name, command in commands.items())]
    lines += [
        "",
        "'roofline COMMAND --help' shows a command's options and two examples.",
        "MODEL is a preset ('roofline models'), a Hugging Face config.json or folder, a .toml file,",
        "or the run file of a training framework (Megatron-LM, torchtitan, axolotl, TRL, DeepSpeed, ...).",
    ]
    return "\n".join(lines) + "\n"


def _join_negative_values(arguments: Sequence[str]) -> list[str]:
    """``--micro-batch -1`` as ``--micro-batch=-1``: the option's own check names what is allowed.

    What follows ``--case`` is a value as well: options of its own.
    """
    joined: list[str] = []
    for argument in arguments:
        value = NEGATIVE.match(argument) and joined and joined[-1].startswith("--") and "=" not in joined[-1]
        if value or joined[-1:] == ["--case"]:
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _dispatch(arguments: Sequence[str]) -> int:
    if sys.stdout is None:  # closed by the shell: >&-
        raise RooflineError("standard output is closed: leave it open, or send it to a file")
    match list(arguments):
        case [] | ["-h" | "--help" | "help"]:
            sys.stdout.write(overview())
            return 0
        case ["--version" | "-V"]:
            sys.stdout.write(f"roofline {__version__}\n")
            return 0
        case ["help", name]:
            return _dispatch([name, "--help"])
        case [name, *rest] if name in COMMANDS:
            return _run(name, _join_negative_values(rest))
    word = arguments[0]
    close = nearest(word, COMMANDS, count=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    kind = "option" if word.startswith("-") else "command"
    raise RooflineError(f"unknown {kind} {word!r}: {hint}(commands: {', '.join(COMMANDS)})")


def _run(name: str, arguments: list[str]) -> int:
    parser, module = command_parser(name)
    parser.check_options(arguments)
    args = parser.parse_args(arguments)
    if getattr(args, "tabular", False):
        from .commands.output import settle_format

        settle_format(args)
    if hasattr(args, "with_files") and not isinstance(args.model, list):
        from .commands import runfile

        if runfile.may_be_run(args) and (status := runfile.settle_run_file(args, name)) is not None:
            return status
    return int(module.run(args) or 0)


def _drop_output() -> None:
    """Send what is still buffered nowhere: Python would try to write it again when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0, 2 for bad input, 3 where training does not fit."""
    try:
        status = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has gone: nothing is left to say
        _drop_output()
        return 141  # what a shell reports for SIGPIPE
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EIO}:
            raise
        _drop_output()
        sys.stderr.write(f"roofline: error: cannot write the result: {error.strerror}\n")
        return USAGE_STATUS
    except KeyboardInterrupt:
        sys.stderr.write("roofline: interrupted\n")
        return 130
    except SystemExit as stop:  # argparse after --help
        return stop.code if isinstance(stop.code, int) else USAGE_STATUS
    except RooflineError as error:
        sys.stderr.write(f"roofline: error: {' '.join(str(error).split())}\n")
        return USAGE_STATUS
    return status
