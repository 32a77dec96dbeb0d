"""The fragment of HTML that a notebook shows."""

from types import SimpleNamespace

from roofline.view.html.page import html
from roofline.view.table import Table

TABLES = [Table("Title", ["a"], [["<b>"]])]


def test_a_view_without_pieces_shows_its_tables_and_notes_escaped():
    view = SimpleNamespace(tables=lambda _: TABLES, notes=lambda result: [f"Note: {result}."])
    text = html(view, "x < y")
    assert "&lt;b&gt;" in text
    assert "<b>" not in text
    assert "x &lt; y" in text


def test_pieces_stand_in_place_of_tables():
    view = SimpleNamespace(tables=None, pieces=lambda _: ["<p>piece</p>"], notes=lambda _: [])
    assert "<p>piece</p>" in html(view, None)
