"""The constants that no datasheet states, with what each rests on: one list of all tables that hold them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..config.stack import load_stack, stack_names
from ..constants import Constant, constants
from ..hardware.database import architecture_ids, default_measured, load_architecture
from ..timing.terms import TERMS
from .table import Cell, Shown, Table

COSTS = {  # fields of a software profile
    "efficiency": "rate of matmuls and attention over that of the best software",
    "host_us": "microseconds of the host per kernel",
    "expert_us": "microseconds of the host per kernel of an expert layer",
    "unit_us": "microseconds of the host per pass and matrix of an adapter that FSDP gathers by itself",
    "dispatch_us": "microseconds of the host per layer and pass that deals tokens out to experts",
}
NOTE = (
    "Source, script and error on held-out rows of each: --format json or csv. Efficiencies of kernels: "
    "'roofline devices DEVICE'."
)


def shown() -> Shown:
    """Every constant: name, value, evidence and meaning; with source, script and held-out error as JSON and CSV."""
    found = dict([*constants().items(), *_of_terms(), *_of_architectures(), *_of_stacks()])
    rows = [[name, Cell(row.value, f"{row.value:g}"), row.evidence, row.says] for name, row in found.items()]
    table = Table("Constants that no datasheet states", ["constant", "value", "evidence", "what it is"], rows, "lrll")
    records = [[name, *msgspec.structs.astuple(row)] for name, row in found.items()]
    return Shown({"constants": found}, [table], [NOTE], Table("", ["name", *Constant.__struct_fields__], records))


def _of_terms() -> Iterator[tuple[str, Constant]]:
    """The spread of each term of a step."""
    like = constants()["spread.software"]  # fitted with it, to a common scale
    for name, term in TERMS.items():
        says = f"standard deviation of log(measured / predicted): {term.says}"
        yield f"spread.{name}", msgspec.structs.replace(like, value=term.spread, says=says)


def _of_architectures() -> Iterator[tuple[str, Constant]]:
    """Rates of long runs on the architectures that state one."""
    measured = {key: load_architecture(key).measured for key in architecture_ids()}
    like = constants()["interference"]  # fitted together
    for key, tables in {"default": default_measured(), **measured}.items():
        if "sustained" not in tables:
            continue
        table, says = tables["sustained"], f"rate of matmuls in long runs over that of short benchmarks: {key}"
        value, source = table["compute"], table["source"]
        if "compute_16bit" in table:
            own, words = table["compute_16bit"], f"{says}, in 16 bits"
            yield f"sustained.{key}.16bit", Constant(value=own, says=words, evidence="published", source=source)
        if source.startswith("assumes"):
            row = Constant(value=value, says=says, evidence="assumed", source=source)
        elif source.startswith("measured"):
            row = Constant(value=value, says=says, evidence="measured", source=source)
        else:
            row = msgspec.structs.replace(like, value=value, says=says, source=source)
        yield f"sustained.{key}", row


def _of_stacks() -> Iterator[tuple[str, Constant]]:
    """What software costs, from the profiles that state it."""
    like = constants()["interference"]  # fitted together
    for stack in map(load_stack, stack_names()):
        for field, says in COSTS.items():
            source = stack.sources.get(field)
            if source is None:
                continue
            value = getattr(stack, field)
            if source.startswith(like.script):
                row = msgspec.structs.replace(like, value=value, says=says, source=source)
            elif source.startswith("assumes"):
                row = Constant(value=value, says=says, evidence="assumed", source=source)
            else:
                row = Constant(value=value, says=says, evidence="published", source=source)
            yield f"{stack.name}.{field}", row
