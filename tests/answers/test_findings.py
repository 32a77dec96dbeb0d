"""Figures that cannot be right, and the mistakes that would explain them."""

import pytest

from roofline.answers.diagnosis import diagnose
from roofline.answers.estimate import estimate
from roofline.errors import RooflineError

RUN = {"model": "gpt2-xl", "device": "a100-sxm-80gb", "micro_batch": 4, "global_batch": 256}


def expected():
    return estimate(**RUN)


def test_step_time_and_tokens_per_second_agree():
    step = expected().step_time_s
    result = diagnose(**RUN, step_time_s=step, tokens_per_s=256 * 1024 / step)
    assert result.findings == ()


@pytest.mark.parametrize(
    ("options", "factor", "words"),
    [
        ({}, 64, "gradient accumulation is left out"),
        ({"num_devices": 8}, 8, "the world size is left out"),
        ({"num_devices": 8, "pp": 2}, 1 / 8, "the world size is already in it"),
    ],
)
def test_disagreement_names_the_factor(options, factor, words):
    step = 20.0
    result = diagnose(**{**RUN, **options}, step_time_s=step, tokens_per_s=256 * 1024 / step / factor)
    assert words in result.findings[0].what
    assert result.tokens_per_s == pytest.approx(256 * 1024 / step)


def test_padding_counted_as_tokens_is_named():
    padded = {**RUN, "mean_len": 400, "packing": "padded"}
    result = diagnose(**padded, step_time_s=20.0, tokens_per_s=256 * 1024 / 20)
    assert "it counts padding as tokens" in result.findings[0].what
    assert result.tokens_per_s == pytest.approx(256 * 400 / 20)


def test_tokens_per_second_without_accumulation_is_detected_alone():
    real = expected().tokens_per_s
    result = diagnose(**RUN, tokens_per_s=real / 64)
    assert "gradient accumulation is left out" in result.findings[0].what
    assert result.findings[0].tokens_per_s == pytest.approx(real)
    assert result.verdict == "below"


def test_mfu_above_the_peak_is_an_error_with_causes():
    with pytest.raises(RooflineError, match=r"is impossible: .*more than one device") as error:
        diagnose(**RUN, tokens_per_s=8 * expected().tokens_per_s)
    assert "\n" not in str(error.value)


def test_a_step_time_of_one_micro_batch_is_suspected():
    # 480 / 12 = 40 accumulation steps
    with pytest.raises(RooflineError, match=r"in order: the step time is of one micro batch: x 40 gives 25\.4 %"):
        diagnose("gpt2", "rtx-4090", step_time_s="250ms", micro_batch=12, global_batch=480)
    two = {**RUN, "global_batch": 8, "recompute": "full"}
    one_pass = estimate(**two).step_time_s / 2  # possible, but above the band
    assert "x 2 gives" in diagnose(**two, step_time_s=one_pass).findings[0].what


def test_causes_of_an_impossible_mfu_are_in_order_and_plausible():
    with pytest.raises(RooflineError) as error:
        diagnose(**RUN, step_time_s=expected().step_time_s / 3)
    card, devices, batch = (str(error.value).index(w) for w in ("another card", "more than one", "a batch or"))
    assert card < devices < batch
    with pytest.raises(RooflineError) as error:  # nothing explains 30 times as fast
        diagnose(**RUN, tokens_per_s=30 * expected().tokens_per_s)
    assert "another card" not in str(error.value)
    assert str(error.value).endswith("Likely cause: a smaller model, more devices, or another rate than stated")


def test_equal_and_impossible_mistakes_are_named_once():
    real = estimate("llama-2-7b", "a100-sxm-80gb", num_devices=128, sharding="fsdp", micro_batch=2).tokens_per_s
    result = diagnose(
        "llama-2-7b", "a100-sxm-80gb", num_devices=128, sharding="fsdp", micro_batch=2, tokens_per_s=real / 128
    )
    (finding,) = result.findings  # 128 devices are 128 ranks, each step is one pass
    assert "the world size is left out" in finding.what
    alone = diagnose(**RUN, tokens_per_s=expected().tokens_per_s / 64)
    assert not any("parallel" in one.what or "world size" in one.what for one in alone.findings)
