"""``roofline report``: where the page goes, and what its reader sees of the command."""

import pytest

from roofline.commands.report import command


def test_where_the_page_went_is_of_no_use_to_its_readers():
    assert (
        command(["gpt2", "-d", "t4", "--output=a b.html", "--seq-len", "2k"])
        == "roofline report gpt2 -d t4 --seq-len 2k"
    )
    assert command(["my model.toml", "-o", "x.html"]) == "roofline report 'my model.toml'"


@pytest.mark.parametrize("name", ["page.pdf", "page"])
def test_a_page_is_html(refused, tmp_path, name):
    err = refused("report", "gpt2", "-d", "t4", "-o", str(tmp_path / name))
    assert "a page is HTML" in err
    assert list(tmp_path.iterdir()) == []
