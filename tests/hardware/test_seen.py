"""A step that was timed on the user's own cluster."""

from roofline.hardware.seen import Seen


def test_the_ratio_is_measured_over_expected():
    assert Seen(model=None, train=None, words="1 device", seconds=3.0, expected_s=2.0).ratio == 1.5
