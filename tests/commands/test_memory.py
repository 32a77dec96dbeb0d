import json

import pytest

import roofline

KEYS = {
    "weights_bytes",
    "gradients_bytes",
    "optimizer_bytes",
    "activations_bytes",
    "logits_bytes",
    "communication_bytes",
    "context_bytes",
    "total_bytes",
    "capacity_bytes",
    "fits",
    "max_micro_batch",
    "most_micro_batch",
}


def test_json_has_the_keys_of_the_contract(answered):
    data = answered("memory", "gpt2-xl", "-d", "a100-sxm-80gb")
    assert set(data) >= KEYS
    parts = [name for name in KEYS if name.endswith("_bytes") and name not in {"total_bytes", "capacity_bytes"}]
    assert abs(sum(data[name] for name in parts) - data["total_bytes"]) < 1
    assert data["fixes"] == []


def test_api_and_command_agree(answered):
    data = answered("memory", "gpt2-xl", "-d", "a100-sxm-40gb")
    result = roofline.memory("gpt2-xl", "a100-sxm-40gb")
    assert result.total_bytes == data["total_bytes"]
    assert result.max_micro_batch == data["max_micro_batch"]
    assert result.to_frame()["bytes"].max() > 0


def test_table_answers_and_explains(printed):
    out = printed("memory", "gpt2-xl", "-d", "a100-sxm-80gb", "--micro-batch", "2")
    for words in ("fits", "Largest micro batch", "Longest sequence", "1,024 tokens", "how it comes about", "1.56B x"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 100


def test_does_not_fit_exits_3_and_offers_changes(run):
    status, out, err = run("memory", "llama-2-13b", "-d", "a100-sxm-80gb", "--num-devices", "2", "--format", "json")
    assert (status, err) == (3, "")
    data = json.loads(out)
    assert data["fits"] is False
    assert data["max_micro_batch"] == 0
    assert 2 <= len(data["fixes"]) <= 5
    for fix in data["fixes"]:
        assert fix["total_bytes"] <= data["capacity_bytes"]
        assert fix["saved_bytes"] > 0
        assert fix["saved_bytes"] + fix["needed_bytes"] == pytest.approx(data["needed_bytes"])


@pytest.mark.parametrize(
    ("batch", "most", "words"),
    [
        (["--global-batch", "8"], 2, "2 of 1,024 tokens: surely fits (the global batch of 8 allows no more)"),
        (["--global-batch", "4096"], 1024, None),  # memory ends it
        ([], None, None),
    ],
)
def test_the_largest_micro_batch_says_where_the_global_batch_ends_it(answered, printed, batch, most, words):
    """A rank of four has a quarter of the global batch; gpt2-xl has 1,024 learned positions."""
    asked = ("memory", "gpt2-xl", "-d", "a100-sxm-80gb", "--num-devices", "4", *batch)
    out = " ".join(printed(*asked).split())
    data = answered(*asked)
    assert data["most_micro_batch"] == most
    assert ("allows no more" in out) is bool(words)
    assert words is None or words in out
    assert "surely fits (the model has 1,024 positions)" in out


def test_without_a_device_the_parts_alone(run, printed):
    status, out, _ = run("memory", "gpt2-xl", "--micro-batch", "2", "--format", "json")
    data = json.loads(out)
    assert status == 0
    assert (data["capacity_bytes"], data["fits"], data["max_micro_batch"], data["device"]) == (None,) * 4
    with_device = roofline.memory("gpt2-xl", "a100-sxm-80gb", micro_batch=2)
    assert data["total_bytes"] == with_device.total_bytes
    assert "name a --device" in printed("memory", "gpt2-xl")
    assert run("memory", "gpt2-xl", "--memory", "80GiB").status == 2


def test_experts_and_the_rest_are_told_apart():
    result = roofline.memory(
        "mixtral-8x7b", "h100-sxm-80gb", num_devices=128, tp=2, ep=8, sharding="zero1", stack="megatron"
    )
    words = result.explained["optimizer_bytes"]
    # with sequence parallelism, as Megatron wants it, whole experts: 45.1B / 8, over 128 / 8 ranks
    assert words == "experts 5.64B x 12 bytes, over 16 ranks; the rest 803M x 12 bytes, over 64 ranks"


def test_the_optimizer_row_is_named_by_what_it_holds(printed):
    def names(*options):
        return printed("memory", "gpt2", "-d", "h100-sxm-80gb", *options)

    assert "optimizer state and master weights" in names("--stack", "megatron")
    assert "master weights" not in names("--stack", "compiled")  # weights are kept in fp32, and cast
    assert "optimizer state and" not in names("--stack", "megatron", "--optimizer", "sgd")


def test_csv(printed):
    header, row = printed("memory", "gpt2", "-d", "t4", "--dtype", "fp16", "--format", "csv").splitlines()
    assert set(header.split(",")) >= KEYS
    assert len(row.split(",")) == len(header.split(","))
