"""Combinations side by side: which there are, which cannot be, what makes the difference."""

import pytest

import roofline
from roofline.answers import comparison
from roofline.errors import RooflineError

GPT2 = roofline.load_model("gpt2")
A100, H100 = (roofline.load_device(name) for name in ("a100-sxm-80gb", "h100-sxm-80gb"))


def test_every_combination_in_the_order_given():
    found = comparison.cases([GPT2], [A100, H100], {"micro_batch": (1, 2), "dtype": "bf16", "fused": ("norm", "cast")})
    assert [case.varied for case in found] == [
        {"device": "a100-sxm-80gb", "micro_batch": 1},
        {"device": "a100-sxm-80gb", "micro_batch": 2},
        {"device": "h100-sxm-80gb", "micro_batch": 1},
        {"device": "h100-sxm-80gb", "micro_batch": 2},
    ]
    assert found[0].options == {
        "micro_batch": 1,
        "dtype": "bf16",
        "fused": ("norm", "cast"),
    }  # several words, one value


@pytest.mark.parametrize(
    ("name", "words"), [("offload", ("optimizer", "parameters")), ("offload", ()), ("moment_dtype", ("bf16", "fp32"))]
)
def test_several_words_of_one_value_are_one_case(name, words):
    (case,) = comparison.cases([GPT2], [A100], {name: words})
    assert case.options == {name: words}
    assert case.varied == {}


def test_a_label_comes_first():
    (case,) = comparison.cases([GPT2], [A100], {})
    assert comparison.labelled(case, "ours").varied == {"case": "ours"}


def test_too_many_are_refused_before_any_is_made():
    with pytest.raises(RooflineError, match="make 10,100 cases"):
        comparison.cases([GPT2], [A100], {"micro_batch": tuple(range(1, 102)), "seq_len": tuple(range(1, 101))})


def test_what_cannot_be_is_set_aside_with_its_reason():
    found = roofline.compare("gpt2", "a100-sxm-80gb", num_devices=2, tp=[1, 2, 3])
    assert [case.varied["tp"] for case in found.cases] == [1, 2]
    (skipped,) = found.skipped
    assert skipped.varied == {"tp": 3}
    assert skipped.reason.startswith("num_devices 2 is not a multiple of tp*pp*cp = 3*1*1")
    with pytest.raises(RooflineError, match="num_devices 2 is not a multiple"):
        roofline.compare("gpt2", "a100-sxm-80gb", num_devices=2, tp=[3])


def test_device_time_of_a_token_is_the_inverse_of_its_rate():
    found = roofline.estimate("gpt2", H100, num_devices=8, micro_batch=4)
    parts = comparison.device_time_per_token(found)
    assert sum(parts.values()) == pytest.approx(1 / float(found.tokens_per_s_per_device))


def test_differences_are_sorted_and_add_up():
    first, other = (roofline.estimate("gpt2", device, micro_batch=8) for device in (H100, A100))
    changes = comparison.difference(first, other)
    sizes = [abs(change) for change in changes.values()]
    assert sizes == sorted(sizes, reverse=True)
    slower = 1 / float(other.tokens_per_s_per_device) - 1 / float(first.tokens_per_s_per_device)
    assert sum(changes.values()) == pytest.approx(slower)
