"""A framework's own run file in place of MODEL: the files are read, the options given override them, both are said."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..config.options import several_of
from ..config.run import TrainConfig
from ..errors import RooflineError, shown
from ..readers.forms import EITHER, form_of

if TYPE_CHECKING:
    from pathlib import Path

    from ..readers.result import RunFile

# what a search is for: a file's own layout is not what is asked
SEARCHED = frozenset(
    {"tp", "pp", "vp", "dp", "cp", "ep", "etp", "sharding", "micro_batch", "sequence_parallel", "recompute"}
    | {"recompute_detail", "pp_layout", "schedule"}
)


def add_run_file_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--with``, ``--framework`` and ``--explain-config``."""
    group = parser.add_argument_group("run file", "MODEL may be the run file of a training framework")
    group.add_argument(
        "--with",
        dest="with_files",
        metavar="FILE",
        action="append",
        default=[],
        help="another file of the same run: accelerate's, DeepSpeed's, a base (repeatable)",
    )
    group.add_argument("--framework", metavar="NAME", help="whose run file it is, where its keys leave that open")
    group.add_argument(
        "--explain-config", action="store_true", help="print what became of every key of the file, and nothing else"
    )


def settle_run_file(args: argparse.Namespace, command: str = "") -> int | None:
    """Put a run file's model and options in place of `args.model`; an exit status where nothing is left to do.

    Raises:
        RooflineError: The file cannot be read as a run, or an option for run files was given without one.
    """
    from pathlib import Path

    named = args.model
    path = Path(named) if isinstance(named, str) and is_run(named) else None
    more = [Path(each) for each in args.with_files]
    if path is None and not more:
        if args.explain_config or args.framework:
            option = "--explain-config" if args.explain_config else "--framework"
            raise RooflineError(f"{option} is for the run file of a training framework, and MODEL is none")
        return None
    from ..readers.fields import DETAILS

    run = _read(args, path or more[0], more if path else more[1:], None if path else named)
    args.config, args.config_notes = run.report, run.notes
    args.config_details = {name: run.said[name] for name in DETAILS if run.said.get(name) is not None}
    if args.explain_config:
        explain(args, run)
        return 0
    args.model, args.overrides = run.model, []
    free = _free(args, command)
    for name, value in run.options.items():
        if name in free or name == "dp" or getattr(args, name, 0) is not None:
            continue
        setattr(args, name, value)
    return None


def is_run(text: str) -> bool:
    """Whether MODEL is a framework's run file: by its suffix, and by its keys where a model may have that as well.

    Raises:
        RooflineError: There is no such file.
    """
    from pathlib import Path

    from ..readers.gather import is_run_file

    form = form_of(text)
    path = Path(text)
    if form is None or path.suffix.lower() in EITHER:
        return form is not None and path.is_file() and is_run_file(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no file"
        raise RooflineError(f"{shown(text, 200)} is {what}: name the run file of a training framework, or a model")
    return True


def may_be_run(args: argparse.Namespace) -> bool:
    """Whether a command line may name a run file, cheaply: most name a preset."""
    if args.with_files or args.explain_config or args.framework:
        return True
    return isinstance(args.model, str) and form_of(args.model) is not None


def _read(args: argparse.Namespace, path: Path, more: list[Path], model: str | None) -> RunFile:
    from ..readers.read import read_run

    fields = TrainConfig.__struct_fields__
    given = {name: getattr(args, name, None) for name in fields}
    return read_run(
        path,
        more=more,
        given={
            name: (",".join(value) or "none") if isinstance(value, tuple) else value  # words, as a file has them
            for name, value in given.items()
            if value is not None and not several_of(name, value)
        },
        model=model,
        overrides=dict(args.overrides),
        framework=args.framework,
    )


def _free(args: argparse.Namespace, command: str) -> frozenset[str]:
    """Options that the command varies by itself, or that the command line sweeps: the file does not fix them."""
    swept = {name for name in TrainConfig.__struct_fields__ if several_of(name, getattr(args, name, None))}
    if command == "layouts" or (command == "plot" and args.kind == "layouts"):
        return SEARCHED
    if command == "plot" and args.kind in {"batch", "memory"}:
        swept |= {"seq_len"} if args.over != "micro-batch" and args.kind == "batch" else {"micro_batch"}
    if swept & {"micro_batch", "num_devices", "tp", "pp", "cp"}:
        swept |= {"global_batch"}
    return frozenset(swept)


# --- what became of every key -----------------------------------------------------------------------------------


def explain(args: argparse.Namespace, run: RunFile) -> None:
    """Print what became of every key of a run's files."""
    from ..view.runfile import explained, explained_records
    from .output import emit

    data: Mapping[str, Any] = {"options": run.options}
    args.config_notes = [note for note in run.notes if note not in run.report.assumed]  # those have their table
    emit(args, data, explained(run), records=explained_records(run))
