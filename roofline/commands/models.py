"""``roofline models``: the presets, one model part by part, or the model types that are read."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..model.load import names_function
from . import options
from .output import add_format_arguments, emit

if TYPE_CHECKING:
    from ..view.table import Shown

EXAMPLES = (
    "roofline models",
    "roofline models deepseek-v3",
    "roofline models gpt2-xl --set n_layers=12 --format json",
    "roofline models --types",
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_model_arguments(parser, nargs="?")
    parser.add_argument(
        "--types", action="store_true", help="the model types of config.json: counted, or refused and why"
    )
    add_format_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the catalog, one model, or the model types."""
    from ..view import models as view

    if args.types:
        emit(args, *view.types())
    elif args.model is None:
        emit(args, *view.catalog())
    else:
        emit(args, *_one(args))
    return 0


def _one(args: argparse.Namespace) -> Shown:
    """One model: as it is described, or as transformers builds it where that is installed."""
    from ..model.load import load_model
    from ..view import models as view

    found = options.model(args)
    if isinstance(found, str):
        from ..tracing import architecture

        if names_function(found) or not architecture.available():
            load_model(found)  # says why not
        return view.built(architecture.build(*architecture.read(found)))
    return view.one(found, args.model)
