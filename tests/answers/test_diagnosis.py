"""Diagnosis of a measured run: MFU by every rule, usual mistakes, suspects."""

import pytest

from roofline.answers.diagnosis import diagnose
from roofline.answers.estimate import estimate
from roofline.cli import main
from roofline.errors import RooflineError

RUN = {"model": "gpt2-xl", "device": "a100-sxm-80gb", "micro_batch": 4, "global_batch": 256}


def expected():
    return estimate(**RUN)


def test_the_expected_step_is_within_the_band():
    result = diagnose(**RUN, step_time_s=expected().step_time_s)
    assert result.verdict == "within"
    assert result.mfu == pytest.approx(expected().mfu)
    assert result.hfu == pytest.approx(expected().hfu)
    assert result.expected_mfu_low < result.mfu < result.expected_mfu_high
    assert result.suspects == ()
    assert result.mfu_causal < result.mfu


def test_reported_mfu_is_traced_to_its_rule():
    step = expected().step_time_s
    result = diagnose(**RUN, step_time_s=step, reported_mfu=expected().mfu / 2)
    assert "could be the 2x sparse peak" in result.findings[0].what


def test_recompute_left_on_is_a_suspect():
    slow = estimate(**RUN, recompute="full").step_time_s * 1.1
    result = diagnose(**RUN, step_time_s=slow)
    named = [suspect.what for suspect in result.suspects]
    assert "full recompute" in named
    for suspect in result.suspects:
        if suspect.options:
            again = estimate(**{**RUN, **suspect.options}).step_time_s
            assert suspect.step_time_s == pytest.approx(again)
        assert suspect.step_time_s > expected().step_time_s
        assert suspect.explains >= 0.1


def test_suspects_are_sorted_by_how_close_they_come():
    measured = 3 * expected().step_time_s
    result = diagnose(**RUN, step_time_s=measured)
    (waits,) = [one for one in result.suspects if "input-bound" in one.what]
    known = [one for one in result.suspects if one is not waits]
    distances = [max(s.step_time_s / measured, measured / s.step_time_s) for s in known]
    assert waits.step_time_s == pytest.approx(measured)
    small = {"model": "gpt2", "device": "h100-sxm-80gb", "micro_batch": 1, "stack": "eager"}  # waits for its launches
    slow = diagnose(**small, step_time_s=3 * estimate(**small).step_time_s)
    assert "host-bound" in slow.suspects[0].what
    assert all(one.measure for one in known if "recompute" in one.what or "host" in one.what)
    assert distances == sorted(distances)


def test_waiting_for_data_stands_before_what_explains_little():
    measured = 1.7 * expected().step_time_s
    known = diagnose(**RUN, step_time_s=measured).suspects
    assert "input-bound" not in known[0].what  # something else comes near
    much = diagnose(**RUN, step_time_s=20 * expected().step_time_s).suspects
    assert "input-bound" in much[0].what  # nothing else does: matmuls in tf32 are not half of it
    images = {"model": "vit-b16", "device": "a100-sxm-80gb", "micro_batch": 64}
    slow = diagnose(**images, step_time_s=1.8 * estimate(**images).step_time_s).suspects
    assert "input-bound" in slow[0].what or abs(slow[0].explains - 1) < 0.15


def test_improvements_fit_and_are_faster():
    result = diagnose(**{**RUN, "recompute": "full", "stack": "eager"}, step_time_s=30)
    assert result.improvements
    slowest = estimate(**{**RUN, "recompute": "full", "stack": "eager"}).step_time_s
    assert all(one.step_time_s < slowest for one in result.improvements)
    for one in result.improvements:
        if one.options:
            again = estimate(**{**RUN, "recompute": "full", "stack": "eager", **one.options})
            assert again.fits
            assert one.step_time_s == pytest.approx(again.step_time_s)
            assert one.explains == pytest.approx(1 - again.step_time_s / slowest)


def test_without_a_micro_batch_the_fastest_that_fits_is_expected():
    result = diagnose("gpt2", "rtx-4090", tokens_per_s=100_000)
    assert result.estimate.fits
    assert result.estimate.train.micro_batch > 1
    assert "the fastest power of two that surely fits" in result.notes[0]


def test_nothing_measured():
    with pytest.raises(RooflineError, match="nothing measured"):
        diagnose("gpt2", "rtx-4090")


def test_command_prints_the_contract(printed, answered):
    arguments = ["mfu", "gpt2-xl", "-d", "a100-sxm-80gb", "--micro-batch", "4", "--tokens-per-s", "9k"]
    data = answered(*arguments)
    for key in ("mfu", "hfu", "mfu_causal", "mfu_6n", "expected_mfu_low", "expected_mfu_high", "verdict", "suspects"):
        assert key in data
    assert "What would explain it" in printed(*arguments)
    assert main([*arguments, "--format", "csv"]) == 0


def test_a_diagnosis_reads_what_is_typed_and_prints_short():
    asked = {"model": "gpt2-xl", "device": "a100-sxm-80gb", "global_batch": "256", "micro_batch": "4"}
    result = diagnose(**asked, step_time_s="30 s")
    assert result.step_time_s == 30
    assert repr(result).startswith("<Diagnosis: MFU ")
    assert len(repr(result)) < 300
    assert set(result.to_frame()["kind"]) <= {"suspect", "improvement"}
    with pytest.raises(RooflineError, match="step_time_s: '-1' is out of range"):
        diagnose(**asked, step_time_s=-1)


def test_absurd_step_times_are_written_readably(printed):
    out = printed("mfu", "gpt2", "-d", "rtx-4090", "--micro-batch", "12", "--step-time", "9e8")
    assert "7.67B times the expected step" in out


def test_improvements_are_against_the_expected_step(printed):
    out = printed("mfu", "gpt2-xl", "-d", "a100-sxm-80gb", "--stack", "eager", "--step-time", "1 s")
    assert "What would make the expected step of " in out


@pytest.mark.parametrize("how", [{"freeze": "embeddings"}, {"train": "lora", "lora_rank": 8}])
def test_a_run_as_expected_has_the_expected_mfu_with_a_part_frozen(how):
    expected = estimate("gemma-2b", "h100-sxm-80gb", micro_batch=1, global_batch=1, **how)
    found = diagnose(
        "gemma-2b", "h100-sxm-80gb", step_time_s=expected.step_time_s, micro_batch=1, global_batch=1, **how
    )
    assert found.mfu == pytest.approx(expected.mfu)
    assert found.verdict == "within"


def test_a_ragged_vocabulary_is_worth_padding(run, printed):
    out = printed("estimate", "gpt2", "-d", "h100-sxm-80gb", "--micro-batch", "8", "--stack", "eager")
    assert "vocabulary padded to 50,304" in out
    compiled = run("estimate", "gpt2", "-d", "h100-sxm-80gb", "--micro-batch", "8", "--stack", "compiled")
    assert "vocabulary padded" not in compiled.out  # TorchInductor pads it


def test_a_printed_figure_alone_says_what_it_may_really_be():
    result = diagnose("gpt2-xl", "a100-sxm-80gb", micro_batch=8, reported_mfu="27 %")
    assert "could be the 2x sparse peak" in result.findings[0].what
    assert result.findings[0].mfu == pytest.approx(0.54)
    assert result.mfu == pytest.approx(0.27)
    node = diagnose("gpt2-xl", "a100-sxm-80gb", micro_batch=8, reported_mfu="430%")
    assert "a node of 8 devices" in node.findings[0].what
    assert node.findings[0].mfu == pytest.approx(4.3 / 8)
    impossible = diagnose("gpt2-xl", "a100-sxm-80gb", micro_batch=8, reported_mfu="563%")
    assert 0 < impossible.findings[0].mfu < 1
    assert "a node of 8 devices" in impossible.findings[0].what  # no rare card first


def test_tflops_of_one_device_are_a_measurement():
    result = diagnose("gpt2-xl", "a100-sxm-80gb", micro_batch=8, num_devices=8, tflops=156)
    assert result.mfu == pytest.approx(156 / 312)


def test_more_than_the_peak_printed_beside_a_measurement_is_explained(printed):
    words = ["mfu", "llama-3.1-8b", "-d", "b200-sxm", "--num-devices", "8", "--tokens-per-s", "91k"]
    assert "the reported MFU of 200 % could be" in printed(*words, "--reported-mfu", "200 %")


def test_a_run_that_could_not_have_run_as_described_is_told_so():
    """8.03B parameters of 16 bytes are 119.7 GiB on each of eight devices; sharded they fit."""
    asked = {"num_devices": 8, "tokens_per_s": 40000}
    found = diagnose("llama-3-8b", "h100-sxm-80gb", **asked)
    assert found.findings[-1].what.startswith("as described the run needs 1")
    sharded = diagnose("llama-3-8b", "h100-sxm-80gb", **asked, sharding="fsdp")
    assert not any("as described" in one.what for one in sharded.findings)
