"""A step that was timed on the user's own cluster, as options of the commands that predict others."""

from __future__ import annotations

import argparse
from typing import Any

from .. import units


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("a step timed on your cluster")
    group.add_argument(
        "--measured",
        metavar="TIME",
        type=units.step_time_s,
        help="what one step took there, such as 13.8s or 340ms: estimates are drawn towards it, and are surer",
    )
    group.add_argument(
        "--measured-at",
        metavar="OPTIONS",
        help="options in which that step differs from what is asked, such as tp=8,micro_batch=2 (default: none; "
        "with layouts and plan, the layout it ran on)",
    )


def given(args: argparse.Namespace) -> dict[str, Any]:
    """What was typed of them."""
    found = {"measured": args.measured, "measured_at": args.measured_at}
    return {name: value for name, value in found.items() if value is not None}
