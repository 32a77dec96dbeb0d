import io

import pytest

from roofline.commands import progress
from roofline.commands.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal, True), (io.StringIO, False)])
def test_a_bar_is_for_terminals_alone(monkeypatch, stream, shown):
    out = stream()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setattr(progress, "SLOW_S", -1.0)
    with Progress("rows") as bar:
        bar(1, 2)
        bar(2, 2)
    assert ("rows" in out.getvalue()) == shown


def test_what_is_quick_has_none(monkeypatch):
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    with Progress("rows") as bar:
        bar(1, 1)
    assert out.getvalue() == ""
