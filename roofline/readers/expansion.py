"""Words of a launch script with their variables filled in; what only a run could know stays marked."""

from __future__ import annotations

import re

from ..errors import RooflineError
from ..model.expressions import evaluate
from ..reading import whole_number
from .shell_words import quoted_end

OPEN, CLOSE = "\0", "\1"  # around the name of a variable without a value, inside a word
NAME = r"[A-Za-z_]\w*"
MOST_LETTERS = 100_000  # of one expanded value: variables that double each other


class Expander:
    """Variables by name, and words with them filled in."""

    def __init__(self, variables: dict[str, str | list[str]]) -> None:
        """Work on a table that grows as the script is read."""
        self.variables = variables
        self.sourced = False  # whether another file may have set more

    def words(self, raw: str) -> list[str]:
        """The words that one raw word becomes: an unquoted variable splits at blanks, as in a shell."""
        pieces: list[tuple[str, bool]] = []  # text, may be split
        whole_array = re.fullmatch(r'"?\$\{(\w+)\[[@*]\](:\d+)?\}"?', raw)
        if whole_array is not None:
            value = self.variables.get(whole_array.group(1))
            if value is None:  # an array comes from no environment: one that nothing sets has no elements
                return [f"{OPEN}{whole_array.group(1)}{CLOSE}"] if self.sourced else []
            return list(value) if isinstance(value, list) else value.split()
        at = 0
        while at < len(raw):
            if raw[at] == "\\":
                pieces.append((raw[at + 1 : at + 2], False))
                at += 2
                continue
            if raw[at] in "'\"":
                end = quoted_end(raw, at)
                inner = raw[at + 1 : end - 1] if raw[end - 1 : end] == raw[at] else raw[at + 1 : end]
                pieces.append((inner if raw[at] == "'" else self.inside(inner), False))
                at = end
            elif raw[at] in "$`":
                end, value = self.variable(raw, at)
                pieces.append((value, True))
                at = end
            else:
                pieces.append((raw[at], False))
                at += 1
        return _split(pieces)

    def text(self, raw: str) -> str:
        """One raw word as one value."""
        return " ".join(self.words(raw))

    def inside(self, text: str) -> str:
        """Double-quoted text with its variables filled in."""
        result: list[str] = []
        size = at = 0
        while at < len(text):
            if text[at] == "\\" and at + 1 < len(text):
                part, at = (text[at + 1] if text[at + 1] in '"$`\\' else text[at : at + 2]), at + 2
            elif text[at] in "$`":
                at, part = self.variable(text, at)
            else:
                part, at = text[at], at + 1
            result.append(part)
            size += len(part)
            if size > MOST_LETTERS:
                raise RooflineError(f"a variable of more than {MOST_LETTERS:,} letters: not a launch script")
        return "".join(result)

    def variable(self, text: str, at: int) -> tuple[int, str]:
        """Where a ``$...`` ends, and its value; its name between marks where it has none."""
        if text[at] == "`" or (text.startswith("$(", at) and not text.startswith("$((", at)):
            end = quoted_end(text, at)
            return end, _missing(text[at:end])
        if text.startswith("$((", at):
            end = quoted_end(text, at)
            return end, self.arithmetic(text[at + 3 : end - 2])
        if text.startswith("${", at):
            end = quoted_end(text, at)
            return end, self.braced(text[at + 2 : end - 1])
        name = re.compile(rf"\$({NAME}|[\d@*#?!$-])").match(text, at)
        if name is None:
            return at + 1, "$"
        return name.end(), self.value(name.group(1))

    def value(self, name: str) -> str:
        """The value of a variable."""
        value = self.variables.get(name)
        if value is None:
            return _missing(name)
        return " ".join(value) if isinstance(value, list) else value

    def braced(self, inner: str) -> str:
        """The value of ``${...}``: with a default, an element, a length or a pattern cut off."""
        parts = re.fullmatch(
            rf"(#?)({NAME}|\d+|[@*#?])(\[([^\]]*)\])?(?:(:?[-=+?])(.*)|([#%/:^,].*))?", inner, re.DOTALL
        )
        if parts is None:
            return _missing(inner)
        length, name, _, key, rule, default, cut = parts.groups()
        value = self.variables.get(name)
        if isinstance(value, list) and key is not None:
            index = whole_number(self.text(key))
            if key not in {"@", "*"}:
                value = value[index] if index is not None and index < len(value) else None
        elif key not in {None, "@", "*"}:
            value = self.variables.get(f"{name}[{self.text(key or '')}]")
        given = " ".join(value) if isinstance(value, list) else value
        if length:
            return str(len(given or ""))
        unset = given is None or OPEN in given or ((rule or "").startswith(":") and not given)
        if rule in {":-", "-", ":=", "="} and unset:
            return self.inside(default.strip("\"'"))
        if rule in {":+", "+"}:
            return "" if unset else self.inside(default.strip("\"'"))
        if given is None or cut:
            return _missing(name)
        return given

    def arithmetic(self, text: str) -> str:
        """The value of ``$((...))``."""
        plain = self.inside(text)
        named = {name: self.value(name) for name in re.findall(NAME, re.sub(f"{OPEN}.*?{CLOSE}", "", plain))}
        for value in (plain, *named.values()):
            if OPEN in value:
                return value[value.index(OPEN) : value.index(CLOSE) + 1]
        try:
            numbers = {name: int(value) for name, value in named.items()}
            return str(int(evaluate(plain.replace("/", "//"), numbers)))
        except (RooflineError, ValueError, OverflowError):
            return _missing(f"$(({text.strip()}))")


def _missing(name: str) -> str:
    name = re.sub(r"\s+", "_", name.strip())[:60]  # one word, whatever is in it
    return f"{OPEN}{name}{CLOSE}"


def _split(pieces: list[tuple[str, bool]]) -> list[str]:
    """Join pieces to words: pieces that may be split end and begin words at their blanks."""
    words: list[str] = []
    current: str | None = None
    for text, splits in pieces:
        if not splits:
            current = (current or "") + text
            continue
        parts = text.split()
        if text[:1].isspace() and current is not None:
            words.append(current)
            current = None
        for index, part in enumerate(parts):
            current = (current or "") + part
            if index < len(parts) - 1 or text[-1:].isspace():
                words.append(current)
                current = None
    return words if current is None else [*words, current]
