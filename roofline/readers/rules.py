"""A framework's rules applied to the keys of one run, with a record of which key became what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import RooflineError
from ..model.expressions import ExpressionError, evaluate, fields_in
from .fields import option_of
from .framework import Rule, load_framework
from .gather import Gathered
from .keys import FUNCTIONS, Keys, UnsetVariable, Written, leaves

NOTE, REFUSAL = "note", "refusal"  # what keys are read for beside options: sentences said, runs turned away


class Rules:
    """The rules of a run's framework, evaluated on its keys.

    Attributes:
        files: The files of the run.
        framework: Its framework's declarations.
        where: The file and the framework, for messages.
        keys: What the rules look names up in.
        uses: Which of our options each key became; also `NOTE` and `REFUSAL`.
    """

    def __init__(self, files: Gathered) -> None:
        """Compute the derived values."""
        self.files, self.framework = files, load_framework(files.framework)
        self.path = Path(files.documents[0].path)
        self.where = f"{self.path.name} ({self.framework.title})"
        self.keys = Keys(files.values, self.framework.lift, dict(leaves(self.framework.defaults)))
        names = self.framework.names
        self.keys.functions = {**FUNCTIONS, "known_as": lambda word: names.get(str(word).lower(), word)}
        self.uses: dict[str, list[str]] = {}
        self.sources: dict[str, set[str]] = {}  # derived value -> the keys behind it
        first = files.documents[0]
        given = {
            "variables": files.variables,
            "program": files.variables.get("program"),
            "positional": files.variables.get("positional"),
            "written": Written(self.keys),
            "form": first.form,
            "file_name": self.path.name,
            "file_stem": self.path.stem,
            "comments": first.comments,
            "parts": sorted(files.parts),
            "our": {},
        }
        self.keys.update(given)
        for name, expression in self.framework.derived.items():
            self.keys[name] = self.derive(name, expression)

    def derive(self, name: str, expression: str) -> Any:
        """A derived value; one that needs an unset variable is an error only where an option needs it."""
        self.keys.begin()
        try:
            value = evaluate(expression, self.keys)
        except UnsetVariable as unset:
            value = unset.value
        except ExpressionError as error:
            raise self.unreadable(name, error) from None
        self.sources[name] = self.behind()
        return value

    def behind(self) -> set[str]:
        """The keys behind the value just computed, through derived values as well."""
        return set(self.keys.touched).union(*(self.sources.get(name, ()) for name in self.keys.used))

    def value(self, expression: str, option: str) -> Any:
        """The value of an expression; the keys behind it count as `option`'s.

        Raises:
            RooflineError: It needs a variable that nothing sets, or cannot be computed.
        """
        self.keys.begin()
        try:
            value = evaluate(expression, self.keys)
        except UnsetVariable as unset:
            flag = "" if option in {NOTE, REFUSAL} else option_of(option)
            raise RooflineError(f"{self.where}: {unset.key} is {unset.value.told(flag)}") from None
        except ExpressionError as error:
            raise self.unreadable(option, error) from None
        for key in self.behind():
            self.uses.setdefault(key, [])
            if option not in self.uses[key]:
                self.uses[key].append(option)
        return value

    def unreadable(self, option: str, error: ExpressionError) -> RooflineError:
        """The error for values that a rule cannot compute with."""
        values = {**self.keys.read, **self.keys.touched}
        shown = ", ".join(f"{key} = {short(values[key])}" for key in sorted(self.behind() & values.keys()))
        return RooflineError(f"{self.where}: cannot read {option} from {shown or 'its keys'}: {error.problem}")

    def table(self, expressions: dict[str, str], option: str) -> dict[str, Any]:
        """The values of several expressions, those that are None left out."""
        values = {name: self.value(text, option) for name, text in expressions.items()}
        return {name: value for name, value in values.items() if value is not None}

    def check(self, rules: Sequence[Rule]) -> None:
        """Raise the first refusal that holds."""
        for sentence in self.sentences(rules, REFUSAL):
            raise RooflineError(f"{self.where}: {sentence}")

    def sentences(self, rules: Iterable[Rule], use: str = NOTE) -> list[str]:
        """The sentences of the rules that hold; the keys that decide count as read for `use`."""
        return [self.fill(rule.say) for rule in rules if self.value(rule.when, use)]

    def fill(self, text: str) -> str:
        """A sentence with the values of its expressions."""
        return re.sub(r"\{([^{}]+)\}", lambda match: short(self.value(match.group(1), NOTE)), text)

    def known_keys(self) -> set[str]:
        """The keys that some rule looks up where it applies."""
        own = self.framework
        tables = (
            own.derived,
            own.options,
            own.model,
            own.sizes,
            own.changes,
            *(config.fields for config in own.configs),
        )
        texts = [text for table in tables for text in table.values()]
        texts += [config.when for config in own.configs] + [named.name for named in own.files]
        for rule in (*own.refuse, *own.warn, *own.note):
            texts += [rule.when, *re.findall(r"\{([^{}]+)\}", rule.say)]
        names = {name.removeprefix("written.") for text in texts for name in fields_in(text)}
        return {f"{section}{name}" for name in names for section in ("", *(f"{each}." for each in own.lift))}


def short(value: Any) -> str:
    """A value in at most a few words."""
    text = value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
