"""Writes the JSON Schemas that help an editor with our TOML files: ``schemas/*.json``, from the types that read them.

Each file names its schema in its first line (``#:schema ../../../schemas/model.json``), as Taplo and Even Better TOML
read it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec

from roofline.config.base import BaseDtype
from roofline.config.dispatch import Dispatcher
from roofline.config.optimizer import Optimizers
from roofline.config.recipes import Recipe
from roofline.config.recompute import RecomputeModule
from roofline.config.schedules import PipelineSchedule
from roofline.config.stack import Stack
from roofline.hardware.architecture import Architecture, Defaults
from roofline.hardware.boards import Board
from roofline.hardware.device import Figures
from roofline.hardware.host import Host
from roofline.hardware.instances import Instance
from roofline.hardware.measured import Measured
from roofline.model import keys
from roofline.model.family import Family, Types
from roofline.readers.framework import Framework

ROOT = Path(__file__).parents[2]
DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest that Taplo knows


def of_type(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The schema of a file that is decoded into `kind`, with the words of docstrings for each field."""
    schema = msgspec.json.schema(kind)
    definitions = schema.pop("$defs")
    for one in definitions.values():
        words = attributes(one.get("description", ""))
        if "description" in one:
            one["description"] = one["description"].partition("\n")[0]
        for name in words.keys() & one.get("properties", {}).keys():
            one["properties"][name]["description"] = words[name]
    top = definitions.pop(kind.__name__)
    text = json.dumps({**top, "title": title, "definitions": definitions})
    return {"$schema": DIALECT, **json.loads(text.replace("#/$defs/", "#/definitions/"), object_hook=_dated)}


def _dated(schema: dict[str, Any]) -> dict[str, Any]:
    """A part of a schema in the words of its dialect, which has another for the items of a tuple."""
    if "prefixItems" in schema:
        schema |= {"items": schema.pop("prefixItems"), "additionalItems": schema["items"]}
    return schema


def attributes(docstring: str) -> dict[str, str]:
    r"""What a docstring says of each attribute.

    >>> attributes("One.\n\n    Attributes:\n        first: A\n            thing.\n        second: Another.\n")
    {'first': 'A thing.', 'second': 'Another.'}
    """
    _, _, listed = cleandoc(docstring).partition("Attributes:\n")  # from 3.13 on Python takes the indentation away
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", listed, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def with_measured(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The schema of a file with ``[measured]`` tables: any of them, any of their figures, each with its source."""
    schema, tables = of_type(kind, title), of_type(Measured, title)
    for name, entry in {"Measured": tables, **tables["definitions"]}.items():
        required = [key for key in entry.pop("required", ()) if key == "source"]
        schema["definitions"][name] = {**entry, **({"required": required} if required else {})}
    measured = schema["definitions"]["Measured"]
    for extra in ("$schema", "definitions", "title"):
        measured.pop(extra, None)
    schema["properties"]["measured"] = {"$ref": "#/definitions/Measured"}
    return schema


def of_named(kind: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """The schema of a file of tables of `kind`, each under a name of its own."""
    schema = of_type(kind, title)
    own = {key: schema.pop(key) for key in ("type", "properties", "required", "additionalProperties") if key in schema}
    schema["definitions"][kind.__name__] = own
    return {**schema, "type": "object", "additionalProperties": {"$ref": f"#/definitions/{kind.__name__}"}}


def of_model() -> dict[str, Any]:
    """The schema of a model's flat keys; a layer's may vary."""
    properties: dict[str, dict[str, Any]] = {
        **{key: {"type": "integer", "minimum": low, "maximum": high} for key, (low, high) in keys.INTEGERS.items()},
        **{key: {"type": "boolean"} for key in keys.FLAGS},
        **{key: {"enum": list(words)} for key, words in keys.WORDS.items()},
        **{key: {"type": "string"} for key in keys.TEXTS},
        **{key: {"type": "array"} for key in keys.LISTS},
    }
    layers = {"description": "indices of layers, or a condition on the index i", "type": ["array", "string"]}
    varying = {key: entry for key, entry in properties.items() if key not in keys.MODEL_KEYS}
    properties["variations"]["items"] = {
        "type": "object",
        "properties": {"layers": layers, **dict(sorted(varying.items()))},
        "required": ["layers"],
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "title": "A model",
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "required": ["n_layers", "d_model"],
        "additionalProperties": False,
    }


SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "model": of_model,
    "family": lambda: of_type(Family, "How the config.json of a model type reads"),
    "types": lambda: of_type(Types, "Model types declared in one line"),
    "stack": lambda: of_type(Stack, "A software profile"),
    "device": lambda: with_measured(Figures, "A device"),
    "architecture": lambda: with_measured(Architecture, "What chips of one family have in common"),
    "defaults": lambda: with_measured(Defaults, "Efficiencies where nothing was measured"),
    "hosts": lambda: of_named(Host, "Kinds of hosts"),
    "framework": lambda: of_type(Framework, "What the keys of a framework's run files mean"),
    "optimizers": lambda: of_type(Optimizers, "Optimizers, and what software does not run"),
    "schedules": lambda: of_named(PipelineSchedule, "Pipeline schedules"),
    "dispatchers": lambda: of_named(Dispatcher, "Ways to send tokens to experts"),
    "recipes": lambda: of_named(Recipe, "How operands of low-precision matmuls are scaled and cast"),
    "recompute": lambda: of_named(RecomputeModule, "Words of --recompute"),
    "base_dtypes": lambda: of_named(BaseDtype, "How a frozen base is stored"),
    "board": lambda: of_type(Board, "A row of a table of boards"),
    "instance": lambda: of_type(Instance, "A row of the table of instances"),
}
CONFIG_TABLES = ("optimizers", "schedules", "dispatchers", "recipes", "recompute", "base_dtypes")
FILES: Mapping[str, str] = {  # which files have which schema
    "roofline/model/presets/*.toml": "model",
    "docs/examples/nanochat-d20.toml": "model",
    "roofline/model/families/*.toml": "family",
    "roofline/model/types.toml": "types",
    "roofline/config/stacks/*.toml": "stack",
    "hardware/devices/*.toml": "device",
    "docs/examples/h100-study.toml": "device",
    "hardware/architectures/[!d]*.toml": "architecture",
    "hardware/architectures/default.toml": "defaults",
    "hardware/hosts.toml": "hosts",
    "roofline/readers/frameworks/*.toml": "framework",
    **{f"roofline/config/{name}.toml": name for name in CONFIG_TABLES},
}


def directive(path: Path, schema: str) -> str:
    """The first line of a file, which names its schema.

    >>> directive(ROOT / "roofline" / "config" / "stacks" / "eager.toml", "stack")
    '#:schema ../../../schemas/stack.json'
    """
    up = "../" * (len(path.relative_to(ROOT).parts) - 1)
    return f"#:schema {up}schemas/{schema}.json"


def stale(root: Path = ROOT) -> dict[Path, str]:
    """The files that are not as they should be, with what each should hold."""
    wanted: dict[Path, str] = {}
    for name, schema in SCHEMAS.items():
        wanted[root / "schemas" / f"{name}.json"] = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    for pattern, name in FILES.items():
        for path in sorted(root.glob(pattern)):
            first, _, rest = (text := path.read_text(encoding="utf-8")).partition("\n")
            wanted[path] = directive(path, name) + "\n" + (rest if first.startswith("#:schema") else text)
    return {
        path: text for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    }


def main() -> int:
    """Write what is not current, or name it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, say what is not current; 1 where anything")
    check = parser.parse_args().check
    files = stale()
    for path, text in files.items():
        print(path.relative_to(ROOT))
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(bool(files) and check)


if __name__ == "__main__":
    sys.exit(main())
