# nanoGPT: torchrun --standalone --nproc_per_node=8 train.py train_gpt2.py
wandb_run_name = "gpt2"
batch_size = 12
block_size = 1024
gradient_accumulation_steps = 5 * 8  # of all ranks together
max_iters = 600_000
