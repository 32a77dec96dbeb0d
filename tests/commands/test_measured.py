"""The options of a step that was timed."""

import argparse

import pytest

from roofline.commands.measured import add_arguments, given


def parsed(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return given(parser.parse_args(words))


def test_only_what_was_typed_is_given():
    assert parsed() == {}
    assert parsed("--measured", "340ms") == {"measured": pytest.approx(0.34)}
    assert parsed("--measured", "13.8s", "--measured-at", "tp=8") == {"measured": 13.8, "measured_at": "tp=8"}
