"""Adapters and quantised bases of a published row."""

from roofline.validation.published import case_of
from roofline.validation.row_adapters import mixes_precision
from roofline.validation.row_config import fusions_of

ROW = {
    "id": "mine-1",
    "source": "a table",
    "software": "Megatron-LM",
    "year": "2024",
    "model": "GPT 1B",
    "n_layers": "24",
    "d_model": "1536",
    "n_heads": "16",
    "d_ff": "6144",
    "gated_mlp": "0",
    "vocab_size": "51200",
    "seq_len": "2048",
    "device": "a100-sxm-80gb",
    "n_devices": "16",
    "devices_per_node": "8",
    "dtype": "bf16",
    "global_batch_sequences": "64",
    "micro_batch_sequences": "2",
    "tp": "2",
    "pp": "2",
    "vp": "1",
    "sharding": "zero1",
    "seq_parallel": "1",
    "recompute": "none",
    "attention": "flash2",
    "tokens_per_s_per_device": "5000",
}


def case(**changes):
    return case_of({**ROW, **changes})


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


def test_adapters_are_in_attention_or_everywhere():
    found = case(workload="lora")
    assert {train.lora_modules for train in found.candidates} == {"attention", "all"}
    assert "adapters in attention or everywhere" in found.assumed
