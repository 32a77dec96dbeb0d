"""Measured against predicted, as it is drawn."""

import pytest

from roofline import plot
from roofline.cli import main
from roofline.errors import RooflineError
from roofline.plot.data import Measurement, ValidationData
from roofline.validation.runs import Prediction


def prediction(name, device, measured, predicted, low, high):
    return Prediction(row={"id": name, "device": device}, measured=measured, predicted=predicted, low=low, high=high)


PREDICTIONS = [
    prediction("one-1", "h100-sxm-80gb", 1000.0, 1100.0, 950.0, 1250.0),
    prediction("one-2", "h100-sxm-80gb", 2000.0, 1500.0, 1300.0, 1700.0),
    prediction("two-1", "a100-sxm-80gb", 500.0, 500.0, 450.0, 550.0),
    Prediction(row={"id": "two-2", "device": "t4"}, skipped_reason="tp is not stated"),
]


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
