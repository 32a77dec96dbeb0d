"""Launch scripts read as words: variables, arrays, conditions on what the script itself sets. Nothing is run.

What a script can only know when it runs (``$1``, ``$(hostname)``, the environment) stays an unresolved variable; a
condition on such a value is not taken, and the report says so.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator

import msgspec

from .expansion import NAME, OPEN, Expander
from .shell_words import Token, tokens

_ASSIGN = re.compile(rf"(?P<name>{NAME})(\[(?P<key>[^\]]*)\])?(?P<plus>\+?)=")
_KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "case", "esac", "for", "while", "until", "do", "done"})
_COMPARE = {
    "-eq": operator.eq,
    "-ne": operator.ne,
    "-gt": operator.gt,
    "-ge": operator.ge,
    "-lt": operator.lt,
    "-le": operator.le,
}
_PREFIXES = frozenset({"export", "declare", "local", "readonly", "typeset"})


class Script(msgspec.Struct):
    """What a script sets and starts.

    Attributes:
        variables: Each variable's last value; an array is a list of words.
        commands: Every command, as expanded words, in order.
        documents: Here-documents, as text.
        taken: Conditions whose branch was taken, and those that could not be decided, as sentences.
        headers: Words of the scheduler's comment lines (``#SBATCH --nodes=4``).
    """

    variables: dict[str, str | list[str]] = {}
    commands: list[list[str]] = []
    documents: list[str] = []
    taken: list[str] = []
    headers: list[str] = []


class Reader:
    """Goes through the tokens of a script and keeps what it sets and starts."""

    def __init__(self, script: Script, found: list[Token]) -> None:
        """Read `found` into `script`."""
        self.script, self.found, self.at = script, found, 0
        self.expand = Expander(script.variables)

    def run(self, ends: frozenset[str] = frozenset(), *, active: bool = True) -> str:
        """Read statements up to one of the closing words; returns it."""
        while self.at < len(self.found):
            token = self.found[self.at]
            if token.text in ends:
                self.at += 1
                return token.text
            if token.operator:
                self.at += 1
            elif token.text == "if":
                self.at += 1
                self.if_statement(active=active)
            elif token.text == "case":
                self.at += 1
                self.case_statement(active=active)
            elif token.text in {"for", "while", "until"}:
                self.at += 1
                self.loop(token.text, active=active)
            else:
                self.simple(active=active)
        return ""

    def loop(self, word: str, *, active: bool) -> None:
        """``for NAME in a b c; do ... done``: its first turn is read; other loops are left out."""
        start = self.at
        self.run(frozenset({"do"}), active=False)
        head = [token.text for token in self.found[start : self.at - 1] if token.text not in {"\n", ";"}]
        turns = [part for each in head[2:] for part in self.expand.words(each)] if head[1:2] == ["in"] else []
        known = active and word == "for" and bool(turns)
        if known:
            self.script.variables[head[0]] = turns[0]
        self.run(frozenset({"done"}), active=known)
        if known and len(turns) > 1:
            self.script.taken.append(f"a loop over {head[0]} ({' '.join(turns):.60}): its first turn is read")
        elif active and not known:
            self.script.taken.append("a loop is left out")

    def if_statement(self, *, active: bool) -> None:
        """``if ...; then ... elif ... else ... fi``: the branch whose condition the script itself decides."""
        decided = not active
        while True:
            start = self.at
            self.run(frozenset({"then"}), active=False)
            condition = self.found[start : self.at - 1]
            truth = None if decided else self.condition(condition)
            if truth is None and not decided:
                words = " ".join(token.text for token in condition if token.text != "\n")
                self.script.taken.append(f"if {words[:80]} cannot be decided: not taken")
            end = self.run(frozenset({"elif", "else", "fi"}), active=bool(truth))
            decided = decided or bool(truth)
            if end == "else":
                self.run(frozenset({"fi"}), active=active and not decided)
                return
            if end != "elif":
                return

    def case_statement(self, *, active: bool) -> None:
        """``case WORD in PATTERN) ... ;; esac``: the first pattern that the word matches."""
        from fnmatch import fnmatchcase

        subject_token = self.found[self.at].text if self.at < len(self.found) else ""
        subject = self.expand.text(subject_token)
        while self.at < len(self.found) and self.found[self.at].text != "in":
            self.at += 1
        self.at += 1
        decided = not active or OPEN in subject
        while self.at < len(self.found):
            if self.found[self.at].text == "esac":
                self.at += 1
                return
            if self.found[self.at].operator and self.found[self.at].text != "(":
                self.at += 1
                continue
            patterns: list[str] = []
            while self.at < len(self.found) and self.found[self.at].text != ")":
                if not self.found[self.at].operator:
                    patterns.append(self.expand.text(self.found[self.at].text))
                self.at += 1
            self.at += 1
            match = not decided and any(fnmatchcase(subject, pattern) for pattern in patterns)
            if match:
                self.script.taken.append(f"{subject_token.strip(chr(34))} is {subject}: that case was taken")
            decided = decided or match
            if self.run(frozenset({";;", ";;&", "esac"}), active=match) == "esac":
                return

    def condition(self, found: list[Token]) -> bool | None:
        """Whether a test holds; None where it depends on what the script does not set."""
        words = [token.text for token in found if token.text not in {"\n", ";"}]
        for joint, wins in (("||", True), ("&&", False)):
            if joint in words:
                at = words.index(joint)
                first, rest = self.test(words[:at]), self.condition([Token(word) for word in words[at + 1 :]])
                return wins if wins in {first, rest} else None if None in {first, rest} else not wins
        return self.test(words)

    def test(self, words: list[str]) -> bool | None:
        """Whether one ``[ ... ]`` holds."""
        if any(word in {"|", "-a", "-o"} for word in words) or not words:
            return None
        if words[0] not in {"[", "[[", "test"}:
            return None
        words = [word for word in words[1:] if word not in {"]", "]]"}]
        negated = bool(words) and words[0] == "!"
        words = words[1:] if negated else words
        values = [self.expand.text(word) for word in words]
        if values[:1] in (["-z"], ["-n"]) and len(values) == 2 and values[1].startswith(OPEN):
            truth: bool | None = values[0] == "-z" if not values[1].startswith(f"{OPEN}$(") else None
        elif any(OPEN in value for value in values):
            return None
        else:
            truth = _test(values)
        return truth if truth is None or not negated else not truth

    def simple(self, *, active: bool) -> None:
        """A command, or assignments."""
        words: list[str] = []
        while self.at < len(self.found):
            token = self.found[self.at]
            if token.operator and token.text in {"\n", ";", ";;", ";;&", "&&", "||", "|", "&"}:
                break
            if token.operator and token.text in {">", "<", ">&", "<&", "<<", "<<-"}:
                self.at += 2 if token.text in {">", "<"} else 1
                continue
            if token.operator and token.text == "(" and len(words) == 1:  # name() { ... }: a function's definition
                self.at += 2
                continue
            if token.text in _KEYWORDS and not words:
                break
            words.append(token.text)
            self.at += 1
        if self.at < len(self.found) and not words and self.found[self.at].text in _KEYWORDS:
            self.at += 1  # a keyword out of place
        if not active:
            return
        while words and words[0] in _PREFIXES | {"{", "}"}:
            words = [word for word in words[1:] if not re.fullmatch(r"-[a-zA-Z]+", word)]
        while words and _ASSIGN.match(words[0]):
            self.assign(words.pop(0))
        if words:
            self.expand.sourced = self.expand.sourced or words[0] in {"source", "."}
            expanded = [part for word in words for part in self.expand.words(word)]
            if expanded:
                self.script.commands.append(expanded)

    def assign(self, raw: str) -> None:
        """``NAME=value``, ``NAME+=value``, ``NAME=(a b c)``, ``NAME[key]=value``."""
        match = _ASSIGN.match(raw)
        if match is None:
            return
        name, key, plus, value = match["name"], match["key"], match["plus"], raw[match.end() :]
        table = self.script.variables
        if value.startswith("("):
            self.array(name, value[1:-1] if value.endswith(")") else value[1:], extend=bool(plus))
            return
        text = self.expand.text(value) if value else ""
        if key is not None:
            table[f"{name}[{self.expand.text(key)}]"] = text
            return
        before = table.get(name)
        if plus and isinstance(before, list):
            before.append(text)
        else:
            table[name] = (before if plus and isinstance(before, str) else "") + text

    def array(self, name: str, inner: str, *, extend: bool) -> None:
        """The elements of ``(...)``; with ``[key]=value`` elements a table."""
        before = self.script.variables.get(name)
        words = list(before) if extend and isinstance(before, list) else []
        for token in tokens(inner)[0]:
            keyed = re.match(r"\[([^\]]+)\]=", token.text)
            if keyed is not None:
                self.script.variables[f"{name}[{keyed.group(1)}]"] = self.expand.text(token.text[keyed.end() :])
            elif not token.operator:
                words += self.expand.words(token.text)
        self.script.variables[name] = words


def _test(values: list[str]) -> bool | None:
    """The truth of one test on known values; None for any other."""
    truth: bool | None = None
    match values:
        case ["-n" | "-z" as test, *rest]:
            truth = bool(rest and rest[0]) == (test == "-n")
        case [left, "=" | "==", right]:
            truth = left == right
        case [left, "!=", right]:
            truth = left != right
        case [left, test, right] if test in _COMPARE:
            try:
                truth = _COMPARE[test](int(left), int(right))
            except ValueError:
                truth = None
    return truth


def read_script(text: str) -> Script:
    r"""Everything a launch script sets and starts.

    >>> script = read_script('TP=8\nARGS="--tp $TP --pp ${PP:-2}"\ntorchrun train.py $ARGS --n $((TP*2)) $1')
    >>> script.commands[0]
    ['torchrun', 'train.py', '--tp', '8', '--pp', '2', '--n', '16', '\x001\x01']
    """
    found, documents = tokens(text)
    script = Script()
    script.headers = [word for line in _headers(text) for word in line.split()]
    Reader(script, found).run()
    expand = Expander(script.variables)
    script.documents = [expand.inside(document) for document in documents]
    return script


def _headers(text: str) -> Iterator[str]:
    """The lines a scheduler reads."""
    for line in text.splitlines():
        if (match := re.match(r"#SBATCH\s+(.*)", line)) is not None:
            yield match.group(1).split(" #")[0]
