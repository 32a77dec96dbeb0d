"""The command line: finds the command, imports only its module, and turns every error into one line."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence

from . import __version__
from .commands.parser import COMMANDS, QUESTIONS, command_parser, is_negative
from .errors import RooflineError, nearest, one_line
from .reading import damaged
from .shadowed import shadowed

USAGE_STATUS = 2  # bad input; a result that does not fit in memory exits with 3
INTERNAL_STATUS = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED_STATUS = 130  # what a shell reports for SIGINT


def overview() -> str:
    """The page of ``roofline --help``: the commands, grouped by the question they answer."""
    lines = ["Know your step time before you rent the GPUs.", "", "usage: roofline COMMAND [MODEL] [options]"]
    for question, commands in QUESTIONS.items():
        lines += ["", question, *(f"  {name:<10} {summary}" for name, summary in commands.items())]
    lines += [
        "",
        "'roofline COMMAND --help' shows a command's options and examples.",
        "MODEL is a preset ('roofline models'), a Hugging Face config.json or folder, a .toml file,",
        "or the run file of a training framework (Megatron-LM, torchtitan, axolotl, TRL, DeepSpeed, ...);",
        "'estimate file.py:function' runs that file to trace the PyTorch module it builds.",
        "Exit status: 2 bad input, 3 does not fit in memory or misses its deadline or budget,",
        "1 measured, too noisy to be trusted (calibrate), 130 interrupted, 141 the reader of a pipe left,",
        "70 a mistake of ours (--debug shows where); 0 all else, also a borderline fit.",
    ]
    return "\n".join(lines) + "\n"


def _join_negative_values(arguments: Sequence[str]) -> list[str]:
    """``--micro-batch -1`` as ``--micro-batch=-1``: the option's own check names what is allowed.

    What follows ``--case`` is a value as well: options of its own.
    """
    joined: list[str] = []
    for argument in arguments:
        value = joined and joined[-1].startswith("--") and "=" not in joined[-1] and is_negative(argument)
        if value or (joined[-1:] == ["--case"] and argument != "--"):
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
    hint = f": did you mean {close[0]!r}?" if close else ""
    kind = "option" if word.startswith("-") else "command"
    raise RooflineError(f"unknown {kind} {word!r}{hint} (commands: {', '.join(COMMANDS)})")


def _run(name: str, arguments: list[str]) -> int:
    parser, module = command_parser(name)
    parser.check_options(arguments)
    args = parser.parse_args(arguments)
    args.typed = arguments
    if getattr(args, "tabular", False):
        from .commands.output import settle_format

        settle_format(args)
    if hasattr(args, "with_files") and not isinstance(args.model, list):
        from .commands import runfile

        if runfile.may_be_run(args) and (status := runfile.settle_run_file(args, name)) is not None:
            return status
    return int(module.run(args) or 0)


def _drop(descriptor: int) -> None:
    """Send what is still buffered nowhere: Python would try to write it again when it ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def tell(message: str) -> None:
    """One line on standard error; nothing where that is closed or full, so that the exit status tells."""
    try:
        sys.stderr.write(f"roofline: {message}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        _drop(2)


def _answered(arguments: Sequence[str]) -> int:
    """Run the command, and see that all it printed has been written."""
    try:
        status = _dispatch(arguments)
    except SystemExit as stop:  # argparse after --help
        status = stop.code if isinstance(stop.code, int) else USAGE_STATUS
    sys.stdout.flush()
    return status


def _explained(error: BaseException) -> int:
    """Tell what went wrong in one line; the exit status says whose fault it is."""
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has gone: nothing is left to say
        _drop(1)
        return 141  # what a shell reports for SIGPIPE
    if isinstance(error, KeyboardInterrupt):
        tell("interrupted")
        return INTERRUPTED_STATUS
    text = _from_outside(error)
    if text is None:
        what = one_line(f"{type(error).__name__}: {error} ({_place(error)})")
        tell(
            f"internal error: {what}. This is our mistake, not yours: please report the command "
            f"and what --debug adds (roofline {__version__})"
        )
        return INTERNAL_STATUS
    tell(f"error: {one_line(text)}")
    return USAGE_STATUS


def _from_outside(error: BaseException) -> str | None:
    """What went wrong outside of this program, in words; None where the mistake is ours."""
    text: str | None
    match error:
        case RooflineError():
            text = str(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EIO):
            _drop(1)
            text = f"cannot write the result: {error.strerror}"
        case FileNotFoundError(filename=None):
            text = "the working folder is gone: change to one that is there"
        case FileNotFoundError() if str(error.filename).startswith(os.path.dirname(__file__)):
            text = str(damaged(error.filename, error))
        case OSError():
            where = f" {os.fsdecode(error.filename)!r}" if isinstance(error.filename, str | bytes) else ""
            text = f"the system refuses{where}: {error.strerror or error}"
        case RecursionError():
            text = "what was given is nested too deeply"
        case MemoryError():
            text = "not enough memory: ask for less at a time"
        case UnicodeError():
            text = f"text that is not UTF-8: {error}"
        case _:
            text = shadowed()
    if text is None and isinstance(error, ImportError | SyntaxError):
        text = f"the installation is damaged: {error}; install roofline again, or the package that this names"
    return text


def _place(error: BaseException) -> str:
    """Where an error was raised, as module:line."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "somewhere"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0; 2 for bad input; 3 where training does not fit, or misses its deadline or budget; 70 for a mistake of ours; 130
    after Ctrl-C. Never raises: what went wrong is one line on standard error; ``--debug`` anywhere adds the traceback.
    """
    given = sys.argv[1:] if argv is None else argv
    arguments = [argument for argument in given if argument != "--debug"]
    if sys.stderr is None:  # closed by the shell: 2>&-
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for as long as we run)
    try:
        return _answered(arguments)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the one net: a user sees one line, no traceback)
        if len(arguments) < len(given):
            import traceback

            with contextlib.suppress(OSError, ValueError):  # closed or full: see `tell`
                traceback.print_exc()
        return _explained(error)
