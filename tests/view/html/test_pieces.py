from roofline.view.html.pieces import answer, assumptions, facts, fragment, table
from roofline.view.table import Cell, Table


def test_a_fragment_carries_its_style_once():
    text = fragment(answer("gpt2 on <a card>", "1.2 s a step", "fits"), facts([("Layout", "1 device"), ("", "")]))
    assert text.count("<style>") == 1
    assert "gpt2 on &lt;a card&gt;" in text
    assert text.count("<dt>") == 1


def test_what_is_bad_is_set_apart():
    assert "big bad" in answer("a", "does not fit", good=False)
    assert "big bad" not in answer("a", "fits")


def test_a_table_aligns_numbers():
    text = table(Table("Times", ["op", "time"], [["matmul", Cell(2.9, "2.9 s")], ["head", None]]))
    assert "<caption>Times</caption>" in text
    assert '<td class="r">2.9 s</td>' in text
    assert '<td class="r">-</td>' in text


def test_assumptions_fold_without_script():
    assert assumptions([]) == ""
    assert "<details><summary>What this rests on (2)</summary>" in assumptions(["a", "b"])
