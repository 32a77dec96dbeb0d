"""Record what the configuration classes of `transformers` take for a field that a ``config.json`` leaves out.

    python scripts/maintain/record_class_defaults.py [--nulls]

Writes `roofline/model/class_defaults.toml`: for each model type the fields without which we would count another model
than its class builds. Fields that a class computes from others, and lists, are left out. With `--nulls` writes
`roofline/model/not_null.toml` instead: the fields for which its class builds nothing from a null, where we would count.
Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import transformers
from compare_with_transformers import default_config, fields_of, same
from trace_types import shallow

from roofline.errors import RooflineError
from roofline.model import family
from roofline.model.family import class_defaults, family_ids, load_family, recognised_fields
from roofline.model.huggingface import model_from_config
from roofline.model.parameters import count_parameters
from roofline.tracing import architecture

FILE = Path(__file__).resolve().parents[2] / "roofline" / "model" / "class_defaults.toml"
HEADER = f"""\
# What the configuration class of each model type takes for a field that a config.json leaves out, where counts depend
# on it and the class does not compute it from other fields. Written by scripts/maintain/record_class_defaults.py.
# Source: the configuration classes of transformers {transformers.__version__}.
"""
NOT_NULL = FILE.with_name("not_null.toml")
NULLS = f"""\
# The fields from which a model type's class builds nothing, or something else than we would count, where a config.json
# states a null. Written by scripts/maintain/record_class_defaults.py --nulls.
# Source: the classes of transformers {transformers.__version__}.

"""
PART = re.compile(r"(_vision|_audio)(_model)?$|_text_model$|_encoder$")  # whose whole leaves out what its class takes
TIED = "tie_word_embeddings"  # that of the outer class decides, which a text model's class does not show


def deciding(name: str) -> dict[str, Any]:
    """The fields of a model type's class that change our count where a config leaves them out."""
    config = default_config(name, adjusted=False)
    fields = fields_of(config)
    full = model_from_config(fields, name)
    found = {}
    for key, value in fields.items():
        plain = isinstance(value, (bool, int, float, str)) and value == getattr(type(config), key, None)
        if key in {"model_type", TIED} or not plain:
            continue
        try:
            without = model_from_config({other: fields[other] for other in fields if other != key}, name)
        except RooflineError:  # refused without it, as its class is with none
            if PART.search(name):
                found[key] = value
            continue
        if not same(full, without) or key in class_defaults(name):
            found[key] = value
    return found


def built(fields: dict[str, Any], name: str) -> int | None:
    """Parameters of what a type's class builds from a config.json; None where it builds nothing."""
    try:
        return sum(parameter.numel() for parameter in architecture.build(fields, name).module.parameters())
    except Exception:  # noqa: BLE001 (a class can raise anything)
        return None


def not_null(name: str) -> list[str]:
    """The fields of a model type that we would read as a null and its class does not, or as something else."""
    fields = {**shallow(fields_of(default_config(name, adjusted=False))), "model_type": name}
    lengths = set(load_family(name).fields.get("max_seq_len", "").split(" or "))  # decide no count
    ours, theirs = count_parameters(model_from_config(fields, name)).total, built(fields, name)
    found = []
    for key in sorted(recognised_fields(name) & fields.keys() - lengths - {"model_type"}):
        if fields[key] is None or isinstance(fields[key], (list, dict)):
            continue
        nulled = {**fields, key: None}
        try:
            read = count_parameters(model_from_config(nulled, name)).total
        except RooflineError:
            continue
        made = built(nulled, name)
        if made is None and not fields[key] and read == ours:  # a null is false, as before classes checked it
            continue
        if made is None or theirs is None or made - theirs != read - ours:
            found.append(key)
    return found


def of_families(read: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """Every family of which something is found, with that; those without a default configuration are said."""
    for name in family_ids():
        try:
            found = read(name)
        except (RooflineError, KeyError, ValueError, TypeError, AttributeError) as error:
            print(f"{name}: no default configuration: {type(error).__name__}: {str(error)[:100]}")
            continue
        if found:
            yield name, found


def write_nulls() -> None:
    """Write the table of fields that may not be null, as if there were none: what it refuses is not counted."""
    text = NULLS
    with mock.patch.object(family, "_not_null", dict):
        for name, found in of_families(not_null):
            print(name, *found, flush=True)
            text += f"{json.dumps(name)} = {json.dumps(found)}\n"
    NOT_NULL.write_text(text)


def main() -> int:
    """Write a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nulls", action="store_true", help=f"write {NOT_NULL.name}")
    transformers.logging.set_verbosity_error()
    if parser.parse_args().nulls:
        write_nulls()
        return 0
    text = HEADER
    for name, found in of_families(deciding):
        text += f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in sorted(found.items()))
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
