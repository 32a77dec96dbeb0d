"""What a run file says: the model, our options, and what became of every key."""

from __future__ import annotations

from typing import Any

import msgspec

from ..model.spec import ModelConfig


class ReadKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was read, and which of our options it became: ``note`` where it only decides what is noted."""

    key: str
    value: Any
    option: str


class ConfigReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every key of a run's files.

    Attributes:
        framework: The framework whose file it is.
        files: The files that were opened, the first one first.
        read: Keys that became an option or decide what is noted, with their value.
        assumed: What the framework takes where the file is silent, and what was assumed beyond that, as sentences.
        ignored: Keys without bearing on time or memory.
        not_understood: Keys that no rule knows.
    """

    framework: str
    files: list[str]
    read: list[ReadKey]
    assumed: list[str]
    ignored: list[str]
    not_understood: list[str]


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """A run as its files describe it.

    Attributes:
        title: The framework as people call it.
        model: The model; None where the files name none.
        options: Options as the configuration takes them.
        said: Everything the files say in the words of the table of fields, those of later versions included.
        report: What became of every key.
        notes: Sentences for the output: what was overridden, left out or is not modelled.
    """

    title: str
    model: ModelConfig | None
    options: dict[str, Any]
    said: dict[str, Any]
    report: ConfigReport
    notes: list[str]
