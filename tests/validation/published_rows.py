"""A published row of a dense model that states everything, and what makes it one of Mixtral 8x7B."""

from roofline.validation.published import Case, case_of

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
MIXTRAL = {
    "n_layers": "32",
    "d_model": "4096",
    "n_heads": "32",
    "n_kv_heads": "8",
    "d_ff": "14336",
    "gated_mlp": "1",
    "vocab_size": "32000",
    "n_experts": "8",
    "experts_per_token": "2",
    "ep": "1",
}


def case(**changes: str) -> Case:
    """The case of the row with columns changed."""
    return case_of({**ROW, **changes})
