"""What the keys of a framework's run files mean, declared in ``frameworks/<name>.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..errors import unknown
from ..model.expressions import fields_in
from ..reading import packaged, read_packaged

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sentence, and when it is said."""

    when: str
    say: str


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that a run file names."""

    name: str
    folders: list[str] = []
    needed: bool = True
    under: bool = False  # its keys lie under the file's: a base


class Emit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a layout is written in a framework's keys."""

    form: Literal["flags", "toml", "json", "yaml"]
    keys: dict[str, str]
    search: dict[str, Any] = {}
    refuse: list[Rule] = []


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes that the file states, in the words of a config.json."""

    when: str
    model_type: str
    fields: dict[str, str]


class Framework(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The declarations of a framework, those of its bases included.

    Attributes:
        title: How people call it.
        source: Where the facts are from: repository at a commit.
        base: One or several files whose declarations it takes over; a name that begins with ``_`` is no framework.
        completes: The name under which the rules of others find this file's table (a DeepSpeed JSON beside a trainer's
            YAML); such a file alone names no run.
        marks: Keys that say the file is this framework's.
        marks_any: One of these keys at least.
        marks_not: None of these.
        layered: The section whose job names the files that it builds on (see `layers.layer`).
        lift: Sections whose keys are named without the section.
        defaults: The framework's own defaults, by key, where a rule reads the key and the file has none.
        derived: Values computed first, those that others need before these, for use in the rest.
        options: For each option of ours an expression over the keys, or None; `our` holds those known by then. Beside
            the fields of the configuration: ``accumulation`` (micro batches of a replica), ``accumulation_of_all`` (of
            all replicas together), ``batch_per_device`` (sequences of every single device, those of a group that share
            one included), ``replicas`` (copies of what a hybrid shards).
        model: ``name`` (Hub id, preset or folder), ``config`` (a table such as a config.json), its ``model_type``.
        sizes: Flat keys of a model whose sizes stand in the file, taken where ``sized`` of ``[model]`` holds.
        configs: The same for what flat keys cannot say: ``model_type`` and the fields of its config.json.
        changes: Flat keys that the file changes in a named model.
        names: The framework's own names of models, in lower case, as presets or as flat keys.
        refuse: ``when`` an expression holds, ``say`` why such a run is not read; ``{expression}`` is filled in.
        warn: Likewise, what to beware of.
        note: Likewise, what was taken for granted.
        files: Files that the file names: ``name`` an expression; ``folders`` where to look.
        shipped: Files that the framework ships and that need not be beside: what they hold.
        harmless: Keys without bearing on time or memory, ``*`` for any part.
        neutral: Keys that size something unless they are at this value (null is one always): any other is refused.
        missing: Why an option may not be in the file, for the error that asks for it.
        emit: The other way: ``form`` of the text, ``keys`` over the fields of a layout, what a ``search`` for it is
            restricted to, what it cannot say (``refuse``).
        columns: The columns of a script's table of layouts, whose row is the file's name.
        variables: What follows from them.
    """

    title: str = ""
    source: str = ""
    base: list[str] = []
    completes: str = ""
    marks: list[str] = []
    marks_any: list[str] = []
    marks_not: list[str] = []
    layered: str = ""
    lift: list[str] = []
    defaults: dict[str, Any] = {}
    derived: dict[str, str] = {}
    options: dict[str, str] = {}
    model: dict[str, str] = {}
    sizes: dict[str, str] = {}
    configs: list[Config] = []
    changes: dict[str, str] = {}
    names: dict[str, Any] = {}
    refuse: list[Rule] = []
    warn: list[Rule] = []
    note: list[Rule] = []
    files: list[Named] = []
    shipped: dict[str, Any] = {}
    harmless: list[str] = []
    neutral: dict[str, Any] = {}
    missing: dict[str, str] = {}
    emit: Emit | None = None
    columns: dict[str, list[str]] = {}
    variables: dict[str, str] = {}


def _folder() -> Traversable:
    """Where the framework files are."""
    return packaged(__name__, "frameworks")


@lru_cache(maxsize=1)
def framework_names() -> tuple[str, ...]:
    """The frameworks whose files are read, sorted."""
    names = sorted(entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml"))
    return tuple(name for name in names if not name.startswith("_"))


@lru_cache(maxsize=64)
def load_framework(name: str) -> Framework:
    """The declarations of a framework.

    Raises:
        RooflineError: No such framework, or its file is malformed.
    """
    resource = _folder() / f"{name}.toml"
    try:
        own = read_packaged(resource, Framework)
    except FileNotFoundError:
        raise unknown("framework", name, framework_names()) from None
    merged = Framework()
    for base in own.base:
        merged = _merge(merged, load_framework(base))
    merged = _merge(merged, own)
    return msgspec.structs.replace(merged, derived=_in_order(merged.derived))


def _in_order(derived: Mapping[str, str]) -> dict[str, str]:
    """Derived values in an order in which each follows those it needs: a framework may change what its base derives."""
    ordered: dict[str, str] = {}
    begun: set[str] = set()

    def put(name: str) -> None:
        if name in begun:
            return
        begun.add(name)
        for needed in fields_in(derived[name]):
            if needed in derived:
                put(needed)
        ordered[name] = derived[name]

    for name in derived:
        put(name)
    return ordered


def _merge(base: Framework, own: Framework) -> Framework:
    """`own` over `base`: tables key by key, lists one behind the other; marks are a framework's own."""
    values: dict[str, Any] = {}
    for name in Framework.__struct_fields__:
        before, after = getattr(base, name), getattr(own, name)
        if isinstance(before, dict):
            values[name] = {**before, **after}
        elif isinstance(before, list) and name not in {"marks", "marks_any", "marks_not", "base", "lift"}:
            values[name] = [*before, *after]
        else:
            values[name] = after or (before if name == "lift" else after)
    return Framework(**values)
