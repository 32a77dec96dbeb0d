"""Launch scripts read as words: variables, arrays, conditions on what the script itself sets. Nothing is run.

What a script can only know when it runs (``$1``, ``$(hostname)``, the environment) stays an unresolved variable; a
condition on such a value is not taken, and the report says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from ..errors import RooflineError
from ..model.expressions import evaluate

OPEN, CLOSE = "\0", "\1"  # around the name of a variable without a value, inside a word
_NAME = r"[A-Za-z_]\w*"
_ASSIGN = re.compile(rf"(?P<name>{_NAME})(\[(?P<key>[^\]]*)\])?(?P<plus>\+?)=")
_TOKEN = re.compile(r"\n|;;&?|;|&&|\|\||\||<<-?|[<>]&?\d*|&|\(\(|\(|\)")
_KEYWORDS = frozenset({"if", "then", "elif", "else", "fi", "case", "esac", "for", "while", "until", "do", "done"})
_PREFIXES = frozenset({"export", "declare", "local", "readonly", "typeset"})
MOST_WORDS = 50_000
MOST_LETTERS = 100_000  # of one expanded value: variables that double each other


class Token(msgspec.Struct, frozen=True):
    """A word (with its quotes) or an operator."""

    text: str
    operator: bool = False


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


# --- words ------------------------------------------------------------------------------------------------


def tokens(text: str) -> tuple[list[Token], list[str]]:
    """The words and operators of a script, and its here-documents in order."""
    found: list[Token] = []
    documents: list[str] = []
    pending: list[str] = []  # ends of here-documents that begin on the next line
    text = text.replace("\r\n", "\n").replace("\\\n", " ")
    at, word = 0, ""
    started = False

    def flush() -> None:
        nonlocal word, started
        if started:
            found.append(Token(word))
        word, started = "", False
        if len(found) > MOST_WORDS:
            raise RooflineError(f"more than {MOST_WORDS:,} words: not a launch script")

    while at < len(text):
        letter = text[at]
        if letter in " \t":
            flush()
            at += 1
        elif letter == "#" and not started:
            at = _line_end(text, at)
        elif letter in "'\"`" or text.startswith("$(", at) or text.startswith("${", at):
            end = _quoted_end(text, at)
            word, started, at = word + text[at:end], True, end
        elif letter == "\\" and at + 1 < len(text):
            word, started, at = word + text[at : at + 2], True, at + 2
        elif letter == "(" and word.endswith("=") and not text.startswith("((", at):  # an array
            end = _quoted_end(text, at)
            word, started, at = word + text[at:end], True, end
        elif (operator := _TOKEN.match(text, at)) is not None:
            flush()
            at = operator.end()
            found.append(Token(operator.group(), operator=True))
            if operator.group().startswith("<<"):
                delimiter = re.compile(r"\s*(['\"]?)([\w-]+)\1").match(text, at)
                if delimiter is not None:
                    pending.append(delimiter.group(2))
                    at = delimiter.end()
            if operator.group() == "\n":
                for end_word in pending:
                    at, document = _document(text, at, end_word)
                    documents.append(document)
                pending = []
        else:
            word, started, at = word + letter, True, at + 1
    flush()
    return found, documents


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _document(text: str, at: int, end_word: str) -> tuple[int, str]:
    """Where the text behind a here-document starts, and the document."""
    end = re.compile(rf"^\s*{re.escape(end_word)}\s*$", re.MULTILINE).search(text, at)
    return (len(text), text[at:]) if end is None else (end.end(), text[at : end.start()])


_CLOSERS = {"$((": "))", "$(": ")", "${": "}", "(": ")"}


def _quoted_end(text: str, start: int) -> int:
    """Where the quoted or bracketed part that begins at `start` ends; to the end of the text where it never does."""
    stack: list[str] = []
    at = start
    while at < len(text):
        top = stack[-1] if stack else ""
        letter = text[at]
        if letter == "\\" and top != "'":
            at += 2
            continue
        if top and text.startswith(top, at):
            stack.pop()
            at += len(top)
        elif top in {"'", "`"}:
            at += 1
        elif (opener := next((o for o in ("$((", "$(", "${") if text.startswith(o, at)), None)) is not None:
            stack.append(_CLOSERS[opener])
            at += len(opener)
        elif letter == "(" and top != '"':
            stack.append(")")
            at += 1
        elif letter in "'\"`" and not (top == '"' and letter == "'"):
            stack.append(letter)
            at += 1
        elif letter == "#" and top == ")" and text[at - 1] in " \t\n":  # a comment inside an array
            at = _line_end(text, at)
        else:
            at += 1
        if not stack:
            return at
        if len(stack) > 50:
            raise RooflineError("quotes and brackets more than 50 deep: not a launch script")
    return len(text)


# --- expansion --------------------------------------------------------------------------------------------


class Expander:
    """Variables by name, and words with them filled in."""

    def __init__(self, variables: dict[str, str | list[str]]) -> None:
        """Work on a table that grows as the script is read."""
        self.variables = variables

    def words(self, raw: str) -> list[str]:
        """The words that one raw word becomes: an unquoted variable splits at blanks, as in a shell."""
        pieces: list[tuple[str, bool]] = []  # text, may be split
        whole_array = re.fullmatch(r'"?\$\{(\w+)\[[@*]\](:\d+)?\}"?', raw)
        if whole_array is not None:
            value = self.variables.get(whole_array.group(1))
            if value is None:
                return [f"{OPEN}{whole_array.group(1)}{CLOSE}"]
            return list(value) if isinstance(value, list) else value.split()
        at = 0
        while at < len(raw):
            if raw[at] == "\\":
                pieces.append((raw[at + 1 : at + 2], False))
                at += 2
                continue
            if raw[at] in "'\"":
                end = _quoted_end(raw, at)
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
            end = _quoted_end(text, at)
            return end, _missing(text[at:end])
        if text.startswith("$((", at):
            end = _quoted_end(text, at)
            return end, self.arithmetic(text[at + 3 : end - 2])
        if text.startswith("${", at):
            end = _quoted_end(text, at)
            return end, self.braced(text[at + 2 : end - 1])
        name = re.compile(rf"\$({_NAME}|[\d@*#?!$-])").match(text, at)
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
        parts = re.fullmatch(rf"(#?)({_NAME}|\d+|[@*#?])(\[([^\]]*)\])?(?:(:?[-=+?])(.*)|([#%/:^,].*))?", inner, re.DOTALL)
        if parts is None:
            return _missing(inner)
        length, name, _, key, rule, default, cut = parts.groups()
        value = self.variables.get(name)
        if isinstance(value, list) and key is not None:
            index = self.text(key)
            if key not in {"@", "*"}:
                value = value[int(index)] if index.isdigit() and int(index) < len(value) else None
        elif key not in {None, "@", "*"}:
            value = self.variables.get(f"{name}[{self.text(key or '')}]")
        given = " ".join(value) if isinstance(value, list) else value
        if length:
            return str(len(given or ""))
        unset = given is None or OPEN in given or (rule or "").startswith(":") and not given
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
        named = {name: self.value(name) for name in re.findall(_NAME, re.sub(f"{OPEN}.*?{CLOSE}", "", plain))}
        for value in (plain, *named.values()):
            if OPEN in value:
                return value[value.index(OPEN) : value.index(CLOSE) + 1]
        try:
            numbers = {name: int(value) for name, value in named.items()}
            return str(int(evaluate(plain.replace("/", "//"), numbers)))
        except (RooflineError, ValueError, OverflowError):
            return _missing(f"$(({text.strip()}))")


def _missing(name: str) -> str:
    return f"{OPEN}{name.strip()[:60]}{CLOSE}"


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


# --- statements -------------------------------------------------------------------------------------------


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
                self.run(frozenset({"do"}), active=False)
                self.run(frozenset({"done"}), active=False)
                if active:
                    self.script.taken.append("a loop is left out")
            else:
                self.simple(active=active)
        return ""

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
        for operator, wins in (("||", True), ("&&", False)):
            if operator in words:
                at = words.index(operator)
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
    """The truth of one test on known values."""
    match values:
        case ["-n", value]:
            return bool(value)
        case ["-z", value]:
            return not value
        case ["-n" | "-z" as test]:
            return test == "-z"
        case [left, "=" | "==", right]:
            return left == right
        case [left, "!=", right]:
            return left != right
        case [left, "-eq" | "-ne" | "-gt" | "-ge" | "-lt" | "-le" as test, right]:
            try:
                a, b = int(left), int(right)
            except ValueError:
                return None
            return {"-eq": a == b, "-ne": a != b, "-gt": a > b, "-ge": a >= b, "-lt": a < b, "-le": a <= b}[test]
        case _:
            return None


def read_script(text: str) -> Script:
    """Everything a launch script sets and starts.

    >>> script = read_script('TP=8\\nARGS="--tp $TP --pp ${PP:-2}"\\ntorchrun train.py $ARGS --n $((TP*2)) $1')
    >>> script.commands[0]
    ['torchrun', 'train.py', '--tp', '8', '--pp', '2', '--n', '16', '\\x001\\x01']
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
