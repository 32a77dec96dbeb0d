"""The tables of a device file: keys that exist, units, derived figures."""

import msgspec
import pytest

from roofline.hardware.sections import Cache, Clock, Link, OtherPeak, Peak


def test_figures_in_base_units():
    link = Link(name="NVLink 4", gb_per_s=450, source="a datasheet")
    assert (link.bytes_per_s, link.devices) == (450e9, 1)
    cache = Cache(level="L2", mib=50, source="a datasheet")
    assert (cache.bytes, cache.bandwidth_bytes_per_s) == (50 * 2**20, None)
    assert Cache(level="L2", mib=50, source="x", gb_per_s=5500).bandwidth_bytes_per_s == 5.5e12


def test_a_table_without_a_source_or_with_an_unknown_key_is_refused():
    with pytest.raises(msgspec.ValidationError, match="source"):
        msgspec.convert({"tflops": 989.4, "engine": "tensor core"}, Peak)
    with pytest.raises(msgspec.ValidationError, match="boost_hz"):
        msgspec.convert({"source": "x", "boost_hz": 1.0}, Clock)


def test_another_peak_names_a_dtype_that_exists():
    known = {"tflops": 1.0, "engine": "vector", "source": "x"}
    assert msgspec.convert({**known, "dtype": "fp64"}, OtherPeak).accumulate == "fp32"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**known, "dtype": "fp7"}, OtherPeak)
