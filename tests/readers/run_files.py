"""Run files that several tests read."""

TITAN = """
# a preset for 16 H100 GPUs
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 2
seq_len = 4096
steps = 10
[parallelism]
tensor_parallel_degree = 2
data_parallel_shard_degree = -1
[activation_checkpoint]
mode = "full"
"""
AXOLOTL = """
base_model: NousResearch/Meta-Llama-3-8B
load_in_8bit: true
adapter: lora
lora_r: 32
lora_target_linear: true
sequence_len: 4096
sample_packing: true
micro_batch_size: 2
gradient_accumulation_steps: 4
optimizer: adamw_bnb_8bit
gradient_checkpointing: true
bf16: auto
datasets: [{path: some/data}]
"""
