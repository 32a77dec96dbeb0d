"""The words and operators of a launch script, with quotes, comments and here-documents."""

from __future__ import annotations

import re

import msgspec

from ..errors import RooflineError

_TOKEN = re.compile(r"\n|;;&?|;|&&|\|\||\||<<-?|[<>]&?\d*|&|\(\(|\(|\)")
MOST_WORDS = 50_000


class Token(msgspec.Struct, frozen=True):
    """A word (with its quotes) or an operator."""

    text: str
    operator: bool = False


def tokens(text: str) -> tuple[list[Token], list[str]]:
    """The words and operators of a script, and its here-documents in order.

    Raises:
        RooflineError: More words than a script has.
    """
    lexer = _Lexer(text.replace("\r\n", "\n").replace("\\\n", " "))
    lexer.run()
    return lexer.found, lexer.documents


class _Lexer:
    """Goes through the letters of a script."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.word: str | None = None
        self.found: list[Token] = []
        self.documents: list[str] = []
        self.pending: list[str] = []  # ends of here-documents that begin on the next line

    def run(self) -> None:
        """Read to the end."""
        while self.at < len(self.text):
            self.step()
        self.end_word()

    def step(self) -> None:
        """Read a letter, a quoted part or an operator."""
        text, at, word = self.text, self.at, self.word
        letter = text[at]
        array = letter == "(" and word is not None and word.endswith("=") and not text.startswith("((", at)
        if letter in " \t":
            self.end_word()
            self.at += 1
        elif letter == "#" and word is None:
            self.at = _line_end(text, at)
        elif array or letter in "'\"`" or text.startswith(("$(", "${"), at):
            self.extend(quoted_end(text, at))
        elif letter == "\\":
            self.extend(min(at + 2, len(text)))
        elif (operator := _TOKEN.match(text, at)) is not None:
            self.end_word()
            self.at = operator.end()
            self.take_operator(operator.group())
        else:
            self.extend(at + 1)

    def extend(self, end: int) -> None:
        """Add the text up to `end` to the word."""
        self.word = (self.word or "") + self.text[self.at : end]
        self.at = end

    def end_word(self) -> None:
        """Keep the word."""
        if self.word is not None:
            self.found.append(Token(self.word))
            self.word = None
        if len(self.found) > MOST_WORDS:
            raise RooflineError(f"more than {MOST_WORDS:,} words: not a launch script")

    def take_operator(self, operator: str) -> None:
        """Keep an operator; a here-document begins on the line behind its own."""
        self.found.append(Token(operator, operator=True))
        if operator.startswith("<<"):
            delimiter = re.compile(r"\s*(['\"]?)([\w-]+)\1").match(self.text, self.at)
            if delimiter is not None:
                self.pending.append(delimiter.group(2))
                self.at = delimiter.end()
        elif operator == "\n":
            for end_word in self.pending:
                self.at, document = _document(self.text, self.at, end_word)
                self.documents.append(document)
            self.pending = []


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _document(text: str, at: int, end_word: str) -> tuple[int, str]:
    """Where the text behind a here-document starts, and the document."""
    end = re.compile(rf"^\s*{re.escape(end_word)}\s*$", re.MULTILINE).search(text, at)
    return (len(text), text[at:]) if end is None else (end.end(), text[at : end.start()])


_CLOSERS = {"$((": "))", "$(": ")", "${": "}", "(": ")"}


def quoted_end(text: str, start: int) -> int:
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
