"""The keys of a run file as rules look them up: every one that a rule reads goes on record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..config.stage_layout import split_evenly, stage_layout
from ..errors import RooflineError
from ..model.expressions import Scope
from .values import Unresolved, scalar
from .vocabulary import adapter_words, not_projections, our_word


class UnsetVariable(Exception):  # noqa: N818 (caught by the engine, which words it)
    """A rule needs a key whose value is a variable that nothing sets."""

    def __init__(self, key: str, value: Unresolved) -> None:
        """Keep both for the message."""
        super().__init__(key)
        self.key, self.value = key, value


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with a value that is no table, by its path.

    >>> list(leaves({"a": {"b": 1}, "c": [2]}))
    [('a.b', 1), ('c', [2])]
    """
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Table(Mapping[str, Any]):
    """A table of the file: looking up a key of it is on record."""

    def __init__(self, keys: Keys, path: str, values: Mapping[str, Any]) -> None:
        """The table at `path`."""
        self.keys_of, self.path, self.values_of = keys, path, values

    def __repr__(self) -> str:
        """As the file has it."""
        return repr(dict(self.values_of))

    def __getitem__(self, key: str) -> Any:
        """The value of a key; KeyError where neither the file nor the framework has one."""
        found = self.keys_of.find(f"{self.path}.{key}", self.values_of, key)
        if found is None:
            raise KeyError(key)
        return found[0]

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the framework's default."""
        found = self.keys_of.find(f"{self.path}.{key}", self.values_of, key)
        return default if found is None else found[0]

    def __contains__(self, key: object) -> bool:
        """Whether the file has the key."""
        return key in self.values_of

    def __iter__(self) -> Iterator[str]:
        """The file's keys."""
        return iter(self.values_of)

    def __len__(self) -> int:
        """How many keys the file has here."""
        return len(self.values_of)

    def plain(self) -> dict[str, Any]:
        """The table as it is, all of it on record."""
        for path, value in leaves(self.values_of, f"{self.path}."):
            self.keys_of.note_read(path, value)
        return dict(self.values_of)


class Written(Mapping[str, Any]):
    """The file's keys as written: ``written.tokenizer_model`` is text even where a variable in it has no value."""

    def __init__(self, keys: Keys) -> None:
        """Look up in `keys`."""
        self.keys_of = keys

    def __getitem__(self, name: str) -> Any:
        """The value of a key, or its text."""
        for path, table in self.keys_of.tables(name):
            if name in table:
                value = table[name]
                self.keys_of.note_read(path, value)
                return value.text if isinstance(value, Unresolved) else value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """The file's keys."""
        return iter(self.keys_of.root)

    def __len__(self) -> int:
        """How many keys the file has."""
        return len(self.keys_of.root)


class Keys(Scope):
    """What rules look names up in: values they derived, the file's keys, the framework's defaults.

    Attributes:
        root: The file's table.
        lift: Sections whose keys may be named without the section.
        known: The framework's defaults, by path.
        read: Every key that a rule looked up, with its value.
        assumed: Every default that a rule took, with its value.
        touched: The keys looked up since the last `begin`.
        used: The derived values looked up since then.
    """

    def __init__(self, root: dict[str, Any], lift: list[str], known: Mapping[str, Any]) -> None:
        """Begin a record."""
        super().__init__({})
        self.root, self.lift, self.known = root, lift, known
        self.read: dict[str, Any] = {}
        self.assumed: dict[str, Any] = {}
        self.touched: dict[str, Any] = {}
        self.used: set[str] = set()
        self.functions = FUNCTIONS

    def begin(self) -> None:
        """Start a new list of keys touched and derived values used."""
        self.touched, self.used = {}, set()

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name: derived, of the file, of a lifted section, or the framework's default."""
        if dict.__contains__(self, name):
            self.used.add(name)
            value = dict.get(self, name)
            if isinstance(value, Unresolved):
                raise UnsetVariable(name, value)
            return value
        for path, table in self.tables(name):
            found = self.find(path, table, name, stated_only=True)
            if found is not None:
                return found[0]
        found = self.find(name, {}, name)
        return default if found is None else found[0]

    def __contains__(self, name: object) -> bool:
        """Whether a name has a value."""
        if dict.__contains__(self, name) or name in self.known:
            return True
        return any(name in table for _, table in self.tables(str(name)))

    def with_values(self, more: Mapping[str, Any]) -> Keys:
        """These values and `more`, with one record."""
        inner = Keys(self.root, self.lift, self.known)
        inner.update({**self, **more})
        inner.read, inner.assumed, inner.touched, inner.used = self.read, self.assumed, self.touched, self.used
        inner.functions = self.functions
        return inner

    def tables(self, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The tables in which an unqualified name may stand, with the name's path in each."""
        yield name, self.root
        for section in self.lift:
            table: Any = self.root
            for part in section.split("."):
                table = table.get(part) if isinstance(table, Mapping) else None
            if isinstance(table, Mapping):
                yield f"{section}.{name}", table

    def find(self, path: str, table: Mapping[str, Any], key: str, *, stated_only: bool = False) -> tuple[Any] | None:
        """The value at a path, on record; None where there is none."""
        if key in table:
            value = table[key]
            if isinstance(value, Mapping):
                return (Table(self, path, value),)
            self.note_read(path, value)
            if isinstance(value, Unresolved):
                raise UnsetVariable(path, value)
            return (_typed(value) if isinstance(value, str) else value,)
        if stated_only:
            return None
        if path in self.known:
            self.assumed[path] = self.known[path]
            return (self.known[path],)
        if any(known.startswith(f"{path}.") for known in self.known):
            return (Table(self, path, {}),)
        return None

    def note_read(self, path: str, value: Any) -> None:
        """Put a key on record."""
        self.read[path] = self.touched[path] = value


# --- functions of rules -----------------------------------------------------------------------------------


def _typed(value: str) -> Any:
    """Text that is a number or a flag as such; any other text, "none" included, as it is."""
    read = scalar(value)
    return value if read is None else read


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _has(value: Any, *parts: str) -> bool:
    """Whether any of the parts stands in a text, or in a text of a list; letter case does not count."""
    texts = value if isinstance(value, list) else list(value) if isinstance(value, Mapping) else [value]
    return any(part.lower() in _text(text).lower() for text in texts for part in parts)


def _find(value: Any, pattern: str) -> Any:
    """What the first group of a pattern finds in a text, as a number where it is one."""
    found = re.search(pattern, _text(value), re.IGNORECASE)
    return None if found is None else scalar(found.group(1) if found.groups() else found.group())


def _words(value: Any) -> list[str]:
    """A list, or text with commas or blanks, as words."""
    if isinstance(value, list):
        return [str(each) for each in value]
    return [word for word in re.split(r"[,\s]+", _text(value)) if word]


def _product(values: Any) -> Any:
    return math.prod(value for value in values if value is not None)


def _last_part(value: Any, separator: str = ".") -> str:
    return _text(value).rsplit(separator, 1)[-1]


def _table_values(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else []


def _pattern(value: Any) -> Any:
    """A list written as an expression of lists: ``[0]*3+[1]*58``."""
    from ..model.expressions import evaluate

    text = _text(value)
    return evaluate(text, {}) if re.fullmatch(r"[\s\[\]()*+,\d]{1,500}", text) else None


def _of_model(field: str) -> Callable[[Any], int | None]:
    """A look-up of one whole number of the model that a name on the Hub means."""

    def value(name: Any) -> int | None:
        from ..model.load import hub_model

        known = hub_model(_text(name), {}) if name else None
        found = getattr(known[0], field) if known else None
        return found if isinstance(found, int) else None

    return value


def _stage_layout(layout: Any) -> str | None:
    """A layout of stages in letters, or a list of the layers of each, as `stage_layout` reads it; None without one.

    Layers of multi-token prediction are left out: they lie where the last layers do.

    >>> _stage_layout("Et*2|tmL"), _stage_layout([["embedding", "decoder"], ["decoder", "loss"]])
    ('Et*2|tL', 'Et|tL')
    """
    if isinstance(layout, list):
        stages = [stage if isinstance(stage, list) else [stage] for stage in layout]
        layout = "|".join("".join(_LAYERS.get(_text(word).lower(), "?") for word in stage) for stage in stages)
    return re.sub(r"m(\*\d+)?", "", _text(layout)) or None


_LAYERS = {"embedding": "E", "e": "E", "decoder": "t", "t": "t", "mtp": "m", "m": "m", "loss": "L", "l": "L"}


def _stages(layout: Any) -> int | None:
    """Stages of a layout; None where it is none that can be read.

    >>> _stages("Et*2|(tt|)*5t|tmL"), _stages([["e", "t"], ["t", "l"]])
    (8, 2)
    """
    try:
        return len(stage_layout(_stage_layout(layout) or "").layers)
    except RooflineError:
        return None


def _split_evenly(layers: Any, pp: Any, vp: Any, first: Any, last: Any, embedding: Any, loss: Any) -> str | None:
    """The layout that a first and last stage of their own make, or embedding and loss that count (`split_evenly`)."""
    sizes = (layers, pp, vp, *(each for each in (first, last) if each is not None))
    if not all(isinstance(each, int) and each > 0 for each in sizes):
        return None
    return split_evenly(layers, pp, vp, first=first, last=last, embedding=bool(embedding), loss=bool(loss))


def _layer_changes(
    dense: list[int], experts: Any, window: Any, every: Any, n_layers: Any
) -> list[dict[str, Any]] | None:
    """Which layers have no experts, and which attend within a window (all but every `every`-th)."""
    changes: list[dict[str, Any]] = []
    if dense and experts:
        changes.append({"layers": dense, "n_experts": 0})
    if window:
        skip = every if isinstance(every, int) and every > 1 else None
        layers = [i for i in range(n_layers) if skip is None or (i + 1) % skip]
        changes.append({"layers": layers, "window": window})
    return changes or None


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "adapters": adapter_words,
    "attention": lambda name: our_word("attention", name),
    "no_projections": not_projections,
    "optimizer_word": lambda name: our_word("optimizer", name),
    "context": _of_model("max_seq_len"),
    "count": lambda value, part: _text(value).count(part),
    "find": _find,
    "has": _has,
    "is_list": lambda value: isinstance(value, list),
    "is_number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "is_table": lambda value: isinstance(value, Mapping),
    "is_text": lambda value: isinstance(value, str),
    "joined": lambda values, by: by.join(_text(value) for value in values),
    "layer_changes": _layer_changes,
    "last_part": _last_part,
    "layers": _of_model("n_layers"),
    "listed": _pattern,
    "lower": lambda value: _text(value).lower(),
    "product": _product,
    "split_evenly": _split_evenly,
    "stage_layout": _stage_layout,
    "stages": _stages,
    "vocabulary": _of_model("vocab_size"),
    "starts": lambda value, *parts: _text(value).lower().startswith(parts),
    "ends": lambda value, *parts: _text(value).lower().endswith(parts),
    "text": _text,
    "values": _table_values,
    "words": _words,
}
