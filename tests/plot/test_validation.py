"""Measured against predicted, as it is drawn."""

import pytest

from roofline import plot
from roofline.cli import main
from roofline.errors import RooflineError
from roofline.plot.data import Measurement, ValidationData

from .predictions import PREDICTIONS


def test_validation_leaves_skipped_rows_out_and_counts_the_interval():
    data = plot.validation_data(PREDICTIONS)
    assert [run.id for run in data.runs] == ["one-1", "one-2", "two-1"]
    assert [run.inside for run in data.runs] == [True, False, True]
    assert [run.source for run in data.runs] == ["one", "one", "two"]
    figure = plot.draw(data)
    words = " ".join(text.get_text() for text in figure.texts)
    assert "3 runs" in words
    assert "67 % of the measurements" in words
    assert "9.1 %" in words  # median of |1000/1100 - 1|, |2000/1500 - 1| and 0
    scatter, errors = figure.axes
    marks = [tuple(mark) for c in scatter.collections for mark in c.get_offsets() if c.get_label() == "h100-sxm-80gb"]
    assert marks == [(1000.0, 1100.0), (2000.0, 1500.0)]
    assert [label.get_text() for label in errors.get_yticklabels()] == ["h100-sxm-80gb", "a100-sxm-80gb"]


def test_many_groups_are_gathered_as_others():
    figures = {"source": "s", "low": 1.0, "high": 1e4}
    runs = tuple(
        Measurement(id=f"{i}", device=f"device-{i % 30}", measured=i + 1.0, predicted=i + 0.9, **figures)
        for i in range(90)
    )
    figure = plot.draw(ValidationData(title="runs", by="device", runs=runs))
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(labels) == 14
    assert labels[-1] == "others"


def test_validation_by_an_unknown_word_or_of_nothing():
    with pytest.raises(RooflineError, match="device, source"):
        plot.validation_data(PREDICTIONS, by="colour")
    with pytest.raises(RooflineError, match="nothing to draw"):
        plot.validation_data(PREDICTIONS[-1:])


def run(*arguments):
    return main(["plot", *arguments])
