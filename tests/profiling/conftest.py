"""The profile of a trace written by hand."""

import pytest


@pytest.fixture
def result(profiled):
    return profiled[1]
