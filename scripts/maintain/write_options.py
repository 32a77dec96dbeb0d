"""Writes ``roofline/config/typed.py``: the options of a run as type checkers and editors see them.

They follow from `TrainConfig` and the readers in `config.options`: adding an option there, and running this, is all.
``--check`` writes nothing, and fails where the file is not current.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from roofline import units
from roofline.answers.inference import SERVED
from roofline.config.options import EVERY, LISTS, NUMBERS, WORDS
from roofline.config.run import TrainConfig
from roofline.config.values import Words

PATH = Path(__file__).resolve().parents[2] / "roofline" / "config" / "typed.py"
HEAD = '''"""The options of a run as type checkers see them; written by ``scripts/maintain/write_options.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    class Column(Protocol):
        """An array, or what NumPy makes one of: a column of pandas, a tensor."""

        def __array__(self) -> NDArray[Any]:
            """Its numbers."""

    Count: TypeAlias = int | np.integer[Any] | str  # as it is typed: 8, "2k"
    Amount: TypeAlias = float | np.floating[Any] | np.integer[Any] | str
    Counts: TypeAlias = Sequence[int] | Column
    Amounts: TypeAlias = Sequence[float] | Column
else:
    Count = Amount = Counts = Amounts = Any
'''


def number(name: str) -> str:
    """`Amount` where fractions are read, else `Count`."""
    return "Amount" if NUMBERS[name] in {units.positive, units.amount} else "Count"


def literal(words: Iterable[str]) -> str:
    """Words as a type."""
    return f"Literal[{', '.join(repr(word).replace(chr(39), chr(34)) for word in words)}]"


def alias(name: str) -> str:
    """The name of an option's words as a type: ``LoraModules``."""
    return name.title().replace("_", "")


def words_of(reader: Any) -> tuple[str, ...]:
    """The words a reader knows; () where it has no closed list."""
    return tuple(getattr(reader, "spellings", ()))


def other(name: str, reader: Callable[[Any], Any]) -> str:
    """The type of what has no closed list: as its reader takes it, or as `TrainConfig` has it."""
    if inspect.isfunction(reader):
        taken = next(iter(inspect.signature(reader).parameters.values())).annotation
        if taken not in {"Any", inspect.Parameter.empty}:
            return str(taken)
    return str(TrainConfig.__annotations__[name]).removesuffix(" | None")


def one(name: str) -> str:
    """The type of one value of an option that is no number."""
    reader = WORDS.get(name) or LISTS[name]
    if not words_of(reader):
        return other(name, reader)
    if isinstance(reader, Words):
        return f"{alias(name)} | Sequence[{alias(name)}]"
    return " | ".join(filter(None, (alias(name), getattr(reader, "beside", ""))))


def fields(form: Callable[[str], str], names: Iterable[str]) -> str:
    """The fields of a TypedDict."""
    return "".join(f"    {name}: {form(name)} | None\n" for name in names)


def single(name: str) -> str:
    """One value."""
    return number(name) if name in NUMBERS else one(name)


def choice(name: str) -> str:
    """One value or several to choose from."""
    if name in NUMBERS:
        found = f"{number(name)} | {number(name)}s | Sequence[{number(name)}]"
    else:
        found = one(name) if name in LISTS else f"{one(name)} | Sequence[{one(name)}]"
    return f'{found} | Literal["all"]' if name in EVERY else found


def text() -> str:
    """The whole module."""
    names = TrainConfig.__struct_fields__
    missing = [name for name in names if name not in {*NUMBERS, *WORDS, *LISTS}]
    if missing:
        raise SystemExit(f"no reader in config.options for {', '.join(missing)}")
    readers = {**WORDS, **LISTS}
    lists = [
        f"{alias(name)}: TypeAlias = {literal(words_of(readers[name]))}"
        for name in names
        if name in readers and words_of(readers[name])
    ]
    numbers = [name for name in names if name in NUMBERS]
    words = [name for name in names if name not in NUMBERS]
    classes = [
        ("WordOptions(TypedDict, total=False)", "Options that are no numbers.", fields(one, words)),
        ("Options(WordOptions, total=False)", "Options of one run (see `TrainConfig`).", fields(number, numbers)),
        (
            "ArrayOptions(WordOptions, total=False)",
            "Options of many runs at once: a number may be an array.",
            fields(lambda name: f"{number(name)} | {number(name)}s", numbers),
        ),
        (
            "LayoutChoices(TypedDict, total=False)",
            "Options of a search: one value, or several to choose from.",
            fields(choice, (name for name in names if name != "num_devices")),
        ),
        (
            "Choices(LayoutChoices, total=False)",
            "Options of a comparison: one value, or several side by side.",
            fields(choice, ["num_devices"]),
        ),
        (
            "ServingOptions(TypedDict, total=False)",
            "Options of inference.",
            fields(single, (name for name in names if name in SERVED)),
        ),
    ]
    bodies = "".join(f'\n\nclass {head}:\n    """{words}"""\n\n{body}' for head, words, body in classes)
    return HEAD + "\n" + "\n".join(lists) + "\n" + bodies


def formatted(source: str) -> str:
    """Source as ruff lays it out."""
    import subprocess

    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PATH), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the file is not current")
    current = formatted(text())
    if parser.parse_args(arguments).check:
        if PATH.read_text(encoding="utf-8") != current:
            print(f"{PATH.name} is not current: run python scripts/maintain/write_options.py")
            return 1
        return 0
    PATH.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
