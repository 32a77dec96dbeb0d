"""Record what the configuration classes of `transformers` take for a field that a ``config.json`` leaves out.

    python scripts/maintain/record_class_defaults.py

Writes `roofline/model/class_defaults.toml`: for each model type the fields without which we would count another model
than its class builds. Fields that a class computes from others, and lists, are left out. Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import transformers
from compare_with_transformers import default_config, fields_of, same

from roofline.errors import RooflineError
from roofline.model.family import class_defaults, family_ids
from roofline.model.huggingface import model_from_config

FILE = Path(__file__).resolve().parents[2] / "roofline" / "model" / "class_defaults.toml"
HEADER = f"""\
# What the configuration class of each model type takes for a field that a config.json leaves out, where counts depend
# on it and the class does not compute it from other fields. Written by scripts/maintain/record_class_defaults.py.
# Source: the configuration classes of transformers {transformers.__version__}.
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


def main() -> int:
    """Write the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    transformers.logging.set_verbosity_error()
    text = HEADER
    for name in family_ids():
        try:
            found = deciding(name)
        except (RooflineError, KeyError, ValueError, TypeError, AttributeError) as error:
            print(f"{name}: no default configuration: {type(error).__name__}: {str(error)[:100]}")
            continue
        if found:
            text += f"\n[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in sorted(found.items()))
    FILE.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
