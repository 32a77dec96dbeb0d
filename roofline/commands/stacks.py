"""``roofline stacks``: the software profiles, or one with its facts."""

from __future__ import annotations

import argparse

from .output import add_format_arguments, emit

EXAMPLES = ("roofline stacks", "roofline stacks megatron --format json")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("stack", metavar="STACK", nargs="?", help="one profile, by id or path of a .toml")
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print all profiles, or one."""
    from ..config.stack import load_stack, stack_names
    from ..view import stacks as view

    if args.stack is not None:
        emit(args, *view.one(load_stack(args.stack)))
    else:
        emit(args, *view.catalog([load_stack(name) for name in stack_names()]))
    return 0
