import csv
import io
import json

import pytest

from roofline.answers.comparison import cases


def test_side_by_side_with_reasons(printed):
    out = printed("compare", "llama-3-8b", "-d", "a100-sxm-80gb", "-d", "h100-sxm-80gb")
    assert "a100-sxm-80gb" in out
    assert "B is 2." in out
    assert "less device-time (matmuls -" in out
    assert "%" not in out.splitlines()[-1]  # times: shares of a net difference exceed the whole


def test_causes_add_up_to_the_difference(printed):
    out = printed("compare", "gpt2-xl", "-d", "h100-sxm-80gb", "--micro-batch", "2,8", "--format", "json")
    first, second = json.loads(out)["cases"]
    for case in (first, second):
        cost = case["step_time_s"] * case["num_devices"] / (case["global_batch"] * case["seq_len"])
        assert sum(case["device_time_per_token_s"].values()) == pytest.approx(cost)
    difference = sum(second["device_time_per_token_s"].values()) - sum(first["device_time_per_token_s"].values())
    assert sum(second["difference_to_first_s"].values()) == pytest.approx(difference)


def test_sweep_is_a_tidy_table_and_csv(printed):
    arguments = ("compare", "llama-3-8b", "-d", "h100-sxm-80gb", "--micro-batch", "1,2,4", "--seq-len", "2k:8k")
    rows = list(csv.DictReader(io.StringIO(printed(*arguments, "--format", "csv"))))
    assert [(int(row["micro_batch"]), int(row["seq_len"])) for row in rows] == [
        (batch, length) for batch in (1, 2, 4) for length in (2048, 4096, 8192)
    ]
    out = printed(*arguments)
    assert out.splitlines()[0].startswith("micro batch  seq len")
    assert len(out.splitlines()) >= 11


def test_cases_of_their_own(printed):
    out = printed("compare", "llama-3-8b", "--case", "-d a100-sxm-80gb", "--case", "-d h100-sxm-80gb --dtype fp8")
    assert "fp8" in out
    assert "bf16" in out


def test_words_sweep_too(printed):
    out = printed("compare", "gpt2", "-d", "h100-sxm-80gb", "--attention", "unfused,flash2", "--format", "json")
    assert [case["varied"] for case in json.loads(out)["cases"]] == [{"attention": "unfused"}, {"attention": "flash2"}]


def test_what_cannot_be_is_left_out_with_its_reason(printed):
    out = printed("compare", "gpt2-xl", "-d", "h100-sxm-80gb", "--seq-len", "512:4k")
    assert "Left out: seq_len 2048: seq_len 2048 is longer than the 1024 learned positions" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt2-xl",), "--device"),
        (("-d", "h100-sxm-80gb"), "MODEL"),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--micro-batch", "8:1"), "--micro-batch"),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--seq-len", "2k,4k"), "learned positions"),
        (("gpt2-xl", "--case", "-d h100-sxm-80gb --nope"), "--nope"),
        (("gpt2-xl", "--case", "-d 'h100-sxm-80gb"), "--case"),
        (("gpt2-xl", "--case", "--"), "--case: a value is missing"),
        (("gpt2", "-d", "t4", "--micro-batch", "1:1000:1", "--seq-len", "1:1000:1"), "10,000"),
    ],
)
def test_bad_input(refused, arguments, words):
    err = refused("compare", *arguments)
    assert words in err
    assert err.count("\n") == 1


def test_cases_are_every_combination():
    import roofline

    models = [roofline.load_model("gpt2"), roofline.load_model("gpt2-xl")]
    devices = [roofline.load_device("t4"), roofline.load_device("a100-sxm-80gb")]
    chosen = cases(models, devices, {"micro_batch": (1, 2, 4), "dtype": "fp16"})
    assert len(chosen) == 2 * 2 * 3
    assert chosen[0].varied == {"model": "gpt2", "device": "t4", "micro_batch": 1}


def test_a_step_that_was_measured_stands_outside_of_cases(refused):
    err = refused("compare", "gpt2", "-d", "h100-sxm-80gb", "--case", "--micro-batch 2 --measured 3s")
    assert "--measured stands outside of --case" in err


@pytest.mark.parametrize("words", ["--format json", "-o x.json", "--jobs 2", "--all"])
def test_how_cases_are_shown_stands_outside_of_them(refused, words):
    assert "stands outside of --case" in refused("compare", "gpt2", "-d", "t4", "--case", f"--micro-batch 2 {words}")


def test_processes_are_for_sweeps_to_a_file(refused):
    assert "--jobs is for --all" in refused("compare", "gpt2", "-d", "t4", "--jobs", "2")
