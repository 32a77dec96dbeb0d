"""What to train as it is read: every figure of a row is that of its plan and its law."""

import pytest

import roofline
from roofline.view import ladder as view

FOUND = roofline.ladder("a100-sxm-80gb", flops=1e20, num_devices=8, terms=roofline.Terms(price=2))


def test_every_row_spends_the_compute():
    for row, rung in zip(view.rungs_table(FOUND).rows, FOUND.rungs, strict=True):
        parameters, tokens, ratio, loss, more = row[:5]
        assert 6 * parameters.value * tokens.value == pytest.approx(1e20, rel=1e-6)
        assert ratio.value == pytest.approx(tokens.value / parameters.value)
        assert (loss.value, more.value) == (rung.verdict.loss, rung.verdict.excess)
        assert row[-1].value == pytest.approx(2 * row[-2].value)  # device-hours at 2 each


def test_every_law_has_a_row_with_its_paper():
    rows = view.advised_table(FOUND).rows
    assert [row[0] for row in rows][:2] == ["chinchilla", "chinchilla-1"]
    assert all("arXiv:" in row[-1] for row in rows)


def test_a_law_without_a_loss_shows_none():
    found = roofline.ladder("a100-sxm-80gb", flops=1e20, num_devices=8, law="kaplan")
    assert "Loss" not in view.rungs_table(found).columns
    assert "parameters without embeddings and head" in view.notes(found)[0]
