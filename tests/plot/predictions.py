"""Measured runs beside predictions, made up for pictures."""

from roofline.validation.runs import Prediction


def prediction(name, device, measured, predicted, low, high):
    return Prediction(row={"id": name, "device": device}, measured=measured, predicted=predicted, low=low, high=high)


PREDICTIONS = [
    prediction("one-1", "h100-sxm-80gb", 1000.0, 1100.0, 950.0, 1250.0),
    prediction("one-2", "h100-sxm-80gb", 2000.0, 1500.0, 1300.0, 1700.0),
    prediction("two-1", "a100-sxm-80gb", 500.0, 500.0, 450.0, 550.0),
    Prediction(row={"id": "two-2", "device": "t4"}, skipped_reason="tp is not stated"),
]
