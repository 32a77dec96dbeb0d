import csv
import io
import json

import pytest

import roofline
from roofline.footprint.parts import PARTS
from roofline.units import format_time

XL = ("estimate", "gpt2-xl", "-d", "h100-sxm-80gb", "--micro-batch", "4")
KEYS = {
    "step_time_s",
    "step_time_low_s",
    "step_time_high_s",
    "ideal_step_time_s",
    "tokens_per_s",
    "tokens_per_s_per_device",
    "mfu",
    "hfu",
    "mfu_rule",
    "model_flops_per_step",
    "hardware_flops_per_step",
    "bound",
    "waterfall",
    "memory",
    "fits",
    "ops",
}


@pytest.fixture
def answer(run):
    status, out, err = run(*XL, "--format", "json")
    assert (status, err) == (0, "")
    return json.loads(out)


def test_json_has_the_keys_of_the_contract(answer):
    assert set(answer) >= KEYS
    assert answer["model"]["params_total"] == 1_557_611_200  # GPT-2 XL with tied head
    assert answer["device"]["peak_flops_per_s"] == 989.4e12
    assert answer["train"]["dtype"] == "bf16"
    assert answer["train"]["seq_len"] == 1024


def test_figures_agree_with_each_other(answer):
    seconds, peak = answer["step_time_s"], answer["device"]["peak_flops_per_s"]
    assert answer["ideal_step_time_s"] < answer["step_time_low_s"] < seconds < answer["step_time_high_s"]
    assert answer["tokens_per_s"] == pytest.approx(4 * 1024 / seconds)
    assert answer["mfu"] == pytest.approx(answer["model_flops_per_step"] / (seconds * peak))
    assert 0 < answer["mfu"] <= answer["hfu"] < 1


def test_waterfall_and_memory_sum_to_their_totals(answer):
    lost = sum(step["lost"] for step in answer["waterfall"])
    assert 1 - lost == pytest.approx(answer["mfu"])
    assert answer["waterfall"][-1]["remaining"] == pytest.approx(answer["mfu"])
    memory = dict(answer["memory"])
    total, capacity = memory["total_bytes"], memory["capacity_bytes"]
    assert sum(memory[part] for part in PARTS) == pytest.approx(total)
    assert memory["fits"] == (total <= capacity) == (memory["fit_probability"] >= 0.5)
    assert memory["verdict"] in {"fits", "borderline", "does not fit"}
    assert [phase["name"] for phase in memory["phases"]] == ["loss", "backward starts", "backward ends", "update"]


def test_ops_come_costliest_first_with_their_bound(answer):
    times = [op["expected_s"] for op in answer["ops"]]
    assert times == sorted(times, reverse=True)
    for op in answer["ops"]:
        assert op["bound"] in {"compute", "memory", "communication"}
        if op["kind"] == "matmul":  # the ridge of bf16 on this device: 989.4e12 / 3.35e12
            assert (op["bound"] == "compute") == (op["intensity"] > 989.4 / 3.35)


def test_the_first_line_says_what_was_estimated(printed):
    out = printed(*XL)
    first = out.splitlines()[0]
    assert first == "gpt2-xl (1.56B parameters) on NVIDIA H100 SXM 80 GB, bf16 at 989.40 TFLOP/s dense peak"
    for words in ("Step time", "tokens/s", "MFU", "HFU", "ideal", "Bound by", "From peak to MFU", "FLOP/byte"):
        assert words in out
    assert "6N+12LdS" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_micro_batch_that_nobody_said_is_named(printed):
    out = printed("estimate", "gpt2-xl", "-d", "h100-sxm-80gb")
    assert "micro batch 16 (assumed) of 1,024 tokens" in out
    assert "fastest power" not in printed(*XL)


def test_layout_and_batch_are_echoed(printed):
    out = printed(
        "estimate",
        "llama-3-70b",
        "-d",
        "h100-sxm-80gb",
        "--num-devices",
        "64",
        "--tp",
        "8",
        "--pp",
        "4",
        "--global-batch",
        "256",
        "--recompute",
        "full",
        "--stack",
        "megatron",
    )
    assert "64 devices: tp 8 x pp 4 x dp 2" in out
    assert "micro batch 1 (assumed) x 128 accumulation steps x 2 data parallel = 256 sequences" in out
    assert "full recompute, megatron stack" in out
    assert "tensor-parallel communication" in out


def test_does_not_fit_exits_3_with_the_largest_items_and_fixes(run, answered):
    status, out, err = run("estimate", "llama-2-13b", "-d", "a100-sxm-40gb", "--num-devices", "2")
    assert (status, err) == (3, "")
    assert "DOES NOT FIT" in out
    assert "short per device" in out
    assert "optimizer state" in out
    assert "cheapest changes that make it fit" in out
    data = answered("estimate", "llama-2-13b", "-d", "a100-sxm-40gb", "--num-devices", "2", statuses=(3,))
    assert data["fits"] is False
    assert data["fixes"]


PIPELINE = ("estimate", "llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "8", "--tp", "2", "--pp", "4")


def test_a_pipeline_that_is_not_filled_is_told_first(answered):
    data = answered(*PIPELINE, "--global-batch", "2")
    advice = data["improvements"][0]
    assert advice["what"].startswith("--global-batch 16: 4 micro batches per pipeline stage, not 2 for 4 stages")
    fuller = answered(*PIPELINE, "--global-batch", "16")
    assert advice["step_time_s"] == pytest.approx(fuller["step_time_s"] * 2 / 16)
    assert advice["mfu"] == pytest.approx(fuller["mfu"])
    assert not any("--global-batch" in change["what"] for change in fuller["improvements"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (PIPELINE[1:], ("nemo profile, because tp > 1 (--stack)", "global batch of 16", "(--global-batch)")),
        (("gpt2", "-d", "v100-sxm2-32gb"), ("fp16, because v100-sxm2-32gb has no bf16 engine",)),
        (("gpt2", "-d", "tpu-v4"), ("jax profile, because the device is a TPU",)),
        (("gpt2", "-d", "t4", "--num-devices", "2", "--sharding", "fsdp"), ("fsdp profile, because fsdp shards",)),
    ],
)
def test_what_is_assumed_is_said(printed, arguments, words):
    out = " ".join(printed("estimate", *arguments, "--micro-batch", "1", statuses=(0, 3)).split())
    assert all(word in out for word in words)
    dtype = "bf16" if "tpu-v4" in arguments else "fp16"
    given = f"--micro-batch 1 --sharding none --no-sequence-parallel --stack megatron --dtype {dtype} --global-batch 16"
    assert "assumed:" not in printed("estimate", *arguments, *given.split(), "--attention", "unfused", statuses=(0, 3))


def test_a_full_disk_is_one_line():
    import subprocess
    import sys
    from pathlib import Path

    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "roofline", *XL], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == 2
    assert result.stderr.startswith("roofline: error: cannot write the result")
    assert result.stderr.count("\n") == 1


def test_csv_is_one_row_in_base_units(answered, printed):
    rows = list(csv.DictReader(io.StringIO(printed(*XL, "--format", "csv"))))
    assert len(rows) == 1
    assert rows[0]["model"] == "gpt2-xl"
    assert float(rows[0]["step_time_s"]) > 0
    assert int(rows[0]["micro_batch"]) == 4
    assert rows[0]["mfu_rule"] == answered(*XL)["mfu_rule"]


def test_output_file(printed, tmp_path):
    path = tmp_path / "estimate.json"
    assert printed(*XL, "--output", str(path)) == ""
    assert set(json.loads(path.read_text())) >= KEYS


def test_the_api_gives_the_same_figures(answer):
    result = roofline.estimate("gpt2-xl", device="h100-sxm-80gb", micro_batch=4)
    assert result.step_time_s == answer["step_time_s"]
    assert result.mfu == answer["mfu"]
    assert set(result.to_dict()) >= KEYS


def test_notes_say_where_figures_come_from(printed):
    words = ("llama-2-7b", "-d", "h100-sxm-80gb", "--seq-len", "8k", "--peak-tflops", "900")
    out = printed("estimate", *words, statuses=(3,))
    assert "8,192 tokens are beyond the 4,096 positions of llama-2-7b" in out
    assert "bf16 peak 900 TFLOP/s is yours" in out


def test_a_cpu_without_bf16_engine_trains_in_fp32(printed):
    out = printed("estimate", "gpt2", "-d", "ampere-altra-max-m128-30")
    assert ", fp32 at " in out or ", bf16 at " in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("gpt2-xxl", "-d", "h100-sxm-80gb"), ("gpt2-xl",)),
        (("gpt2-xl", "-d", "h100"), ("ambiguous", "h100-pcie-80gb", "h100-sxm-80gb")),
        (("gpt2-xl", "-d", "h100-sxm-80g"), ("h100-sxm-80gb",)),
        (("gpt2-xl",), ("--device", "local")),
        (("gpt2-xl", "-d", "v100-sxm2-32gb", "--dtype", "bf16"), ("bf16", "fp16")),
        (("gpt2-xl", "-d", "a100-sxm-80gb", "--dtype", "fp8"), ("fp8", "bf16")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--dtype", "mixed"), ("bf16", "fp16")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--peak-tflops", "1979"), ("sparse", "989.4")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--peak-tflops", "2500"), ("2.5 x", "989.4")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "-d", "t4"), ("h100-sxm-80gb", "t4", "roofline compare")),
        (("gpt2-xl", "-d", "h100-sxm-80gb,t4"), ("h100-sxm-80gb", "t4", "roofline compare")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--micro-batch", "1,2"), ("1,2", "roofline compare")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--seq-len", "1k:4k"), ("1k:4k", "roofline compare")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--attention", "te,flash2"), ("te,flash2", "roofline compare")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--seq-len", "2048"), ("2048", "1024", "learned_positions=2048")),
        (
            ("gpt2-xl", "-d", "h100-sxm-80gb", "--global-batch", "7", "--micro-batch", "2", "--num-devices", "2"),
            ("7", "micro_batch 2", "dp 2", "4 or 8"),
        ),
        (("llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "12", "--tp", "12"), ("32", "8 or 16")),
        (("llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "12", "--tp", "8"), ("12", "16")),
        (("llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "64", "--pp", "64"), ("64", "32 layers")),
        (("llama-3-8b", "-d", "h100-sxm-80gb", "--num-devices", "8", "--ep", "8"), ("experts", "--ep")),
        (("llama-3-8b", "-d", "h100-sxm-80gb", "--vp", "2"), ("--pp",)),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--train", "lora", "--lora-rank", "1600"), ("1600", "d_model")),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--lora-rank", "8"), ("--train lora",)),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--stack", "megatrom"), ("megatron",)),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--set", "n_layer=3"), ("n_layers",)),
        (("gpt2-xl", "-d", "h100-sxm-80gb", "--fused", "loss"), ("cross_entropy",)),
        (("gpt2", "-d", "rtx-4090", "--num-devices", "16"), ("network", "--network-bandwidth")),
        (("nothing.py:build", "-d", "h100-sxm-80gb"), ("nothing.py", "torch")),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(refused, arguments, words):
    err = refused("estimate", *arguments)
    assert any(word in err for word in words) if words[0] == "nothing.py" else all(w in err for w in words)


@pytest.mark.parametrize("option", ["--micro-batch", "--num-devices", "--seq-len", "--tp", "--global-batch"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "1e3x", "true", "1.5", ""])
def test_numbers_that_cannot_be_name_the_flag(refused, option, value):
    assert option in refused("estimate", "gpt2-xl", "-d", "h100-sxm-80gb", option, value)


def test_absurd_sizes_stay_finite_or_are_refused(refused):
    for option in ("--micro-batch", "--num-devices", "--global-batch"):
        err = refused("estimate", "gpt2-xl", "-d", "h100-sxm-80gb", option, "1e30")
        assert "1,000,000,000,000" in err


def test_what_a_billion_tokens_take_follows_from_the_rate(printed):
    result = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8, num_devices=8)
    words = format_time(1e9 / result.tokens_per_s)
    out = printed("estimate", "gpt2-xl", "-d", "h100-sxm-80gb", "--micro-batch", "8", "--num-devices", "8")
    assert f"per device; 1B tokens take {words}" in out
