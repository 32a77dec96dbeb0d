import json

import roofline

KEYS = {
    "weights_bytes", "gradients_bytes", "optimizer_bytes", "activations_bytes", "logits_bytes",
    "communication_bytes", "context_bytes", "total_bytes", "capacity_bytes", "fits", "max_micro_batch",
}  # fmt: skip


def test_json_has_the_keys_of_the_contract(run):
    status, out, _ = run("memory", "gpt2-xl", "-d", "a100-sxm-80gb", "--format", "json")
    assert status == 0
    data = json.loads(out)
    assert set(data) >= KEYS
    parts = [
        name for name in KEYS if name.endswith("_bytes") and name not in {"total_bytes", "capacity_bytes"}
    ]
    assert abs(sum(data[name] for name in parts) - data["total_bytes"]) < 1
    assert data["fixes"] == []


def test_api_and_command_agree(run):
    data = json.loads(run("memory", "gpt2-xl", "-d", "a100-sxm-40gb", "--format", "json").out)
    result = roofline.memory("gpt2-xl", "a100-sxm-40gb")
    assert result.total_bytes == data["total_bytes"]
    assert result.max_micro_batch == data["max_micro_batch"]
    assert result.to_frame()["bytes"].max() > 0


def test_table_answers_and_explains(run):
    status, out, err = run("memory", "gpt2-xl", "-d", "a100-sxm-80gb", "--micro-batch", "2")
    assert (status, err) == (0, "")
    for words in (
        "fits",
        "Largest micro batch",
        "Longest sequence",
        "1,024 tokens",
        "how it comes about",
        "1.56B x",
    ):
        assert words in out
    assert max(map(len, out.splitlines())) <= 100


def test_does_not_fit_exits_3_and_offers_three_changes(run):
    status, out, err = run(
        "memory", "llama-2-13b", "-d", "a100-sxm-80gb", "--num-devices", "2", "--format", "json"
    )
    assert (status, err) == (3, "")
    data = json.loads(out)
    assert data["fits"] is False
    assert data["max_micro_batch"] == 0
    assert len(data["fixes"]) == 3
    for fix in data["fixes"]:
        assert fix["total_bytes"] <= data["capacity_bytes"]
        assert fix["saved_bytes"] > 0


def test_csv(run):
    header, row = run("memory", "gpt2", "-d", "t4", "--dtype", "fp16", "--format", "csv").out.splitlines()
    assert set(header.split(",")) >= KEYS
    assert len(row.split(",")) == len(header.split(","))
