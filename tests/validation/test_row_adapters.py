"""Adapters and quantised bases of a published row."""

from roofline.validation.row_adapters import adapter_options, mixes_precision, upcast_said
from roofline.validation.row_config import fusions_of

from .published_rows import case


def test_a_quantised_base_is_read_with_its_adapters():
    said = {"workload": "qlora", "quantization": "nf4", "tp": "1", "pp": "1", "n_devices": "1", "sharding": "none"}
    (train,) = case(
        **said, notes="LoRA rank 32 on q,v, dropout 0.05; base in nf4", global_batch_sequences="2"
    ).candidates
    assert (train.train, train.base_dtype, train.double_quant) == ("qlora", "nf4", True)
    assert (train.lora_rank, train.lora_modules, train.lora_dropout) == (32, "q_proj,v_proj", 0.05)


def test_a_trainer_mixes_precision_over_a_quantised_base_alone():
    said = {"workload": "lora", "software": "HF Trainer (transformers 4.48)"}
    assert not mixes_precision(said)
    assert mixes_precision({**said, "workload": "qlora", "quantization": "nf4"})
    assert mixes_precision({**said, "software": "NeMo 24.07"})
    assert not mixes_precision({"workload": "sft", "notes": "weights and Adam states in bf16, no fp32 copy"})


def test_fused_adapters_are_those_of_a_quantised_base():
    notes = "fused rms/rope/ce kernels and fused LoRA matmuls"
    assert "adapter" in fusions_of({"notes": notes, "quantization": "nf4"})
    assert "adapter" not in fusions_of({"notes": notes})


def test_kernels_of_a_trainer_s_plugins_are_for_layers_like_llama_s():
    row = {"software": "HF Trainer (fms-acceleration)", "fused": "adapter/cross_entropy/norm/rotary"}
    assert fusions_of({**row, "gated_mlp": "0"}) == ("cross_entropy",)
    assert set(fusions_of({**row, "gated_mlp": "1"})) == {"adapter", "cross_entropy", "norm", "rotary"}


def test_of_the_modules_that_a_source_lists_those_count_that_a_model_has():
    row = {"workload": "qlora", "quantization": "nf4", "adapters": "rank 16 on q,k,v,o and c_attn, dropout 0.1"}
    modules = [adapter_options({**row, "gated_mlp": gated})["lora_modules"] for gated in ("0", "1")]
    assert modules == ["c_attn", "q_proj,k_proj,v_proj,o_proj"]


def test_adapters_are_in_attention_or_everywhere():
    found = case(workload="lora")
    assert {train.lora_modules for train in found.candidates} == {"attention", "all"}
    assert "adapters in attention or everywhere" in found.assumed


def test_what_prepared_a_quantised_base():
    software = "HF Trainer (fms-acceleration, torch 2.4.1, transformers 4.48.1)"
    said = {"workload": "qlora", "software": software, "sharding": "none", "notes": "base in nf4 (bitsandbytes)"}
    baseline = {**said, "notes": "base in nf4; without the FSDP and casting fixes of the plugin"}
    assert upcast_said(said) == "base as loaded"
    assert upcast_said(baseline) == "norms in fp32"
    assert upcast_said({**baseline, "sharding": "fsdp"}) == "base as loaded"
    assert upcast_said({**said, "software": "axolotl"}) == upcast_said({**said, "workload": "lora"}) == ""
    assert adapter_options({"workload": "qlora", "precision": "norms in fp32"})["base_upcast"] == "norms"
