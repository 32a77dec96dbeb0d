# nanochat: a model of depth 20 on one node
torchrun --standalone --nproc_per_node=8 -m scripts.base_train -- --depth=20 --device-batch-size=32 \
    --max-seq-len=2048 --total-batch-size=524288 --run=mine
