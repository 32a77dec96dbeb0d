"""Record the operators of torch, each with its tags and whether it is a view or made of others, for the test suite.

    python scripts/maintain/record_operators.py

Writes `tests/data/aten_operators.csv`: those that take or give a tensor. The suite then needs no torch to see that each
has a cost, or is refused with a reason. Needs the `torch` extra.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

import torch

RECORD = Path(__file__).resolve().parents[2] / "tests" / "data" / "aten_operators.csv"
COMPOSITE = "CompositeImplicitAutograd"  # runs as the operators that it is made of, which a trace sees instead


def described(name: str, schemas: list[Any]) -> dict[str, str] | None:
    """A row of the record; None for what has no tensors, or is no operator."""
    packet = getattr(torch.ops.aten, name, None)
    if packet is None or not any("Tensor" in str(part.type) for s in schemas for part in (*s.arguments, *s.returns)):
        return None
    view, composite = [], []
    tags: set[str] = set()
    for schema in schemas:
        key = f"aten::{name}" + (f".{schema.overload_name}" if schema.overload_name else "")
        try:
            composite.append(torch._C._dispatch_has_kernel_for_dispatch_key(key, COMPOSITE))  # noqa: SLF001
            overload = getattr(packet, schema.overload_name or "default")
        except (RuntimeError, AttributeError):  # of the script interpreter alone
            continue
        tags |= {tag.name for tag in overload.tags}
        aliases = [part.alias_info for part in schema.returns]
        writes = any(part.alias_info is not None and part.alias_info.is_write for part in schema.arguments)
        view.append(bool(aliases) and None not in aliases and not writes)
    if not view:
        return None
    kept = sorted(tags & {"pointwise", "reduction", "inplace_view"})
    return {
        "operator": name,
        "tags": " ".join(kept),
        "view": str(int(all(view))),
        "composite": str(int(all(composite))),
    }


def main() -> int:
    """Write the record."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    schemas: dict[str, list[Any]] = {}
    for schema in torch._C._jit_get_all_schemas():  # noqa: SLF001 (the only list there is)
        namespace, _, name = schema.name.partition("::")
        if namespace == "aten":
            schemas.setdefault(name, []).append(schema)
    rows = [row for name in sorted(schemas) if (row := described(name, schemas[name])) is not None]
    with RECORD.open("w", newline="") as file:
        file.write(f"# torch {torch.__version__.partition('+')[0]}\n")
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} operators")
    return 0


if __name__ == "__main__":
    sys.exit(main())
