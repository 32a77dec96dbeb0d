"""How a JSON object names the model, the configuration and the device."""

import pytest

import roofline
from roofline.config.run import TrainConfig
from roofline.errors import RooflineError
from roofline.view.about import device_json, model_json, train_json


def test_a_model_is_named_with_its_published_parameters():
    found = model_json(roofline.load_model("gpt2"))
    # 12 layers of width 768, a vocabulary of 50,257, 1,024 positions, the head tied
    layer = 4 * 768**2 + 4 * 768 + 8 * 768**2 + 5 * 768 + 4 * 768
    assert found["params_total"] == found["params_active"] == (50257 + 1024) * 768 + 12 * layer + 2 * 768
    assert found["name"] == "gpt2"
    assert found["source"]


def test_an_optimizer_is_a_coarse_word_and_what_it_stands_for():
    found = train_json(TrainConfig(optimizer="adamw-8bit-paged"))
    assert (found["optimizer"], found["optimizer_detail"]) == ("adamw-8bit", "adamw-8bit-paged")
    assert {*found} == {*TrainConfig.__struct_fields__, "optimizer_detail"}


@pytest.mark.parametrize(
    "options",
    [
        {"stack": "torchtune"},
        {"stack": "hf-trainer", "num_devices": 8, "sharding": "zero2"},
        {"num_devices": 8, "sharding": "zero3", "stack": "deepspeed", "offload": "all"},
        {"train": "qlora", "lora_variant": "dora", "recompute": "full:4", "optimizer": "paged_adamw_8bit"},
        {"train": "lora", "base_dtype": "fp32"},
        {"offload": "activations", "offload_layers": 3, "mean_len": 500},
    ],
)
def test_a_configuration_can_be_passed_back(options):
    once = roofline.memory("gpt2", "h100-sxm-80gb", micro_batch=2, seq_len=1024, **options).to_dict()
    again = roofline.memory("gpt2", "h100-sxm-80gb", **once["train"]).to_dict()
    assert again["train"] == once["train"]
    assert again["phases"] == once["phases"]


def test_an_optimizer_and_what_it_stands_for_agree():
    with pytest.raises(RooflineError, match="optimizer lion contradicts optimizer_detail adamw-paged: leave one"):
        roofline.memory("gpt2", optimizer="lion", optimizer_detail="adamw-paged")


def test_a_device_is_named_with_what_an_estimate_divides_by():
    found = device_json(roofline.load_device("a100-sxm-80gb"), "bf16")
    assert (found["id"], found["dtype"]) == ("a100-sxm-80gb", "bf16")
    assert (found["peak_flops_per_s"], found["memory_bandwidth_bytes_per_s"]) == (312e12, 2039e9)
