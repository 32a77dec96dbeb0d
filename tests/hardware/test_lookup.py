"""Finding a device refuses to guess; the user's own figures and files are checked."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline import hardware
from roofline.hardware import HardwareError, load_device
from roofline.hardware.catalog import heads
from roofline.hardware.driver_names import by_driver_name
from roofline.hardware.lookup import find, variants

from ..records import records


@pytest.mark.parametrize(
    ("word", "device_id"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb"),
        ("nvidia h100 80gb hbm3", "h100-sxm-80gb"),
        ("H100 80GB HBM3", "h100-sxm-80gb"),
        ("A100-SXM4-40GB", "a100-sxm-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("NVIDIA GB300", "gb300"),
        ("Tesla T4", "t4"),
        ("H100-SXM_80GB", "h100-sxm-80gb"),
        ("h100-sxm5-80gb", "h100-sxm-80gb"),
        ("TPU v5", "tpu-v5p"),
        ("TPUv3", "tpu-v3"),
        ("TPUv4", "tpu-v4"),
        ("B300", "b300-sxm"),
        ("B300-SXM-270GB", "b300-sxm"),
        ("H800-SXM5-80GB", "h800-sxm-80gb"),
        ("H100-SXM5-80GB", "h100-sxm-80gb"),
        ("TPU v5 lite", "tpu-v5e"),
        ("A10", "a10"),
        ("L4", "l4"),
        ("AMD Instinct MI300X VF", "mi300x"),
        ("MI300X VF", "mi300x"),
        ("AMD Instinct MI250X / MI250", "mi250x-gcd"),
    ],
)
def test_exact_names_find_their_device(word: str, device_id: str) -> None:
    assert load_device(word).id == device_id


@pytest.mark.parametrize("word", ["h100", "a100", "H200", "v100", "a800", "epyc", "NVIDIA H100"])
def test_ambiguous_words_list_the_variants_and_ask(word: str) -> None:
    with pytest.raises(HardwareError, match=r"ambiguous device .*which one") as error:
        load_device(word)
    family = word.lower().removeprefix("nvidia ")
    common = [key for key, head in heads().items() if not head.rare and key.startswith(f"{family}-")]
    assert all(f"'{key}'" in str(error.value) for key in common)


def test_a_token_inside_another_does_not_match() -> None:
    assert variants("B300") == ["b300-sxm"]
    assert by_driver_name("NVIDIA B300") is None
    assert by_driver_name("NVIDIA L40S") is load_device("l40s")


def test_unknown_word_shows_the_nearest_and_the_remedy() -> None:
    with pytest.raises(
        HardwareError, match=r"unknown device 'h101': did you mean .*'h100-sxm-80gb'.*'roofline devices' lists all"
    ):
        load_device("h101")


@given(st.text(max_size=12))
def test_no_word_crashes(word: str) -> None:
    try:
        device = find(word)
    except HardwareError:
        return
    assert device.id in hardware.device_ids()


SPELLINGS = records("spellings.csv")


def test_names_as_people_type_them() -> None:
    """Some 400 spellings of boards, laptops, systems, instances and chips; what is ambiguous or not there asks."""
    found = {}
    for row in SPELLINGS:
        try:
            device = load_device(row["word"])
            found[row["word"]] = device.id + (f" x {device.num_devices}" if device.num_devices else "")
        except HardwareError as error:
            found[row["word"]] = "asks" if "ambiguous" in str(error) else "unknown"
    assert found == {row["word"]: row["reading"] for row in SPELLINGS}


@pytest.mark.parametrize("word", ["gpu", "cuda", "mps"])
def test_a_frameworks_word_for_this_machine_points_to_local(word: str) -> None:
    with pytest.raises(HardwareError, match=f"unknown device '{word}': 'local' is the one of this machine"):
        load_device(word)


@pytest.mark.parametrize("word", ["PCX", "i7-12700K", "CMP 170HX", "WSE-3", "K80", "n1-standard-8"])
def test_a_hint_never_crosses_families(word: str) -> None:
    with pytest.raises(HardwareError, match="unknown device '[^']+' \\('roofline devices'"):
        load_device(word)


def test_an_unknown_one_of_a_series_shows_what_there_is_of_it() -> None:
    with pytest.raises(HardwareError, match="of that series there are 'ryzen-9-7950x', 'ryzen-9-9950x'"):
        load_device("Ryzen 9 5950X")


def test_a_number_that_several_series_carry_asks() -> None:
    with pytest.raises(HardwareError, match="'quadro-rtx-6000', 'rtx-6000-ada', 'rtx-pro-6000-blackwell-maxq'"):
        load_device("RTX 6000")
    assert load_device("RTX 8000").id == "quadro-rtx-8000"
