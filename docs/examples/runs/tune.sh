# what the command says beats the file that it names
tune run --nproc_per_node 4 full_finetune_distributed --config torchtune.yaml batch_size=4 tokenizer.max_seq_len=4096
