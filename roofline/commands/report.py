"""``roofline report``: one page to share, as a file that needs no network."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from ..errors import RooflineError
from . import options
from .output import DOES_NOT_FIT, write_text
from .training import add_training_arguments

EXAMPLES = (
    "roofline report gpt2-xl -d h100-sxm-80gb --output report.html",
    "roofline report llama-3-70b -d h100-sxm-80gb --num-devices 512 --tp 8 --pp 4 --global-batch 1024",
    "roofline report train.toml -d h100-sxm-80gb -o run.html",
)
SUFFIXES = (".html", ".htm")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser)
    add = parser.add_argument_group("page").add_argument
    add("-o", "--output", metavar="FILE", default="report.html", help="an .html (default report.html here)")
    options.add_device_arguments(parser)
    add_training_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write the page and say where it is; 3 where the run does not fit in memory."""
    from ..answers.estimate import estimate
    from ..page.report import report_of, write
    from ..view.files import check_writable, write_atomically
    from ..view.words import sentence

    path = Path(args.output)
    if path.suffix.lower() not in SUFFIXES:
        raise RooflineError(f"cannot write {path}: a page is HTML; name a file that ends in .html")
    check_writable(path)
    found = estimate(options.model(args), options.device(args), **options.train_options(args))
    notes = [sentence(note) for note in getattr(args, "config_notes", ())]
    content = write(report_of(found, command(args.typed), notes))
    write_atomically(path, content)
    write_text(f"wrote {path} ({len(content) / 1e3:,.0f} kB)\n")
    return DOES_NOT_FIT if found.memory.verdict == "does not fit" else 0


def command(typed: Sequence[str]) -> str:
    """What was typed, without where the page went: that is of no use to its readers.

    >>> command(["gpt2", "-d", "t4", "--output", "out/a.html"]), command(["gpt2", "-o=a.html"])
    ('roofline report gpt2 -d t4', 'roofline report gpt2')
    """
    kept: list[str] = []
    words = iter(typed)
    for word in words:
        if word in {"-o", "--output"}:
            next(words, None)
        elif not word.startswith(("-o", "--output=")):
            kept.append(word)
    return shlex.join(["roofline", "report", *kept])
