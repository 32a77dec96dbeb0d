#!/bin/bash
# Megatron-LM: Llama 2 13B on 8 nodes
GPUS_PER_NODE=8
NNODES=8
TP=4
PP=2

MODEL_ARGS=(
    --num-layers 40
    --hidden-size 5120
    --ffn-hidden-size 13824
    --num-attention-heads 40
    --seq-length 4096
    --max-position-embeddings 4096
    --position-embedding-type rope
    --normalization RMSNorm
    --swiglu
    --disable-bias-linear
    --untie-embeddings-and-output-weights
    --tokenizer-type Llama2Tokenizer
    --attention-dropout 0
    --hidden-dropout 0
)

torchrun --nproc_per_node $GPUS_PER_NODE --nnodes $NNODES pretrain_gpt.py ${MODEL_ARGS[@]} \
    --tensor-model-parallel-size $TP --pipeline-model-parallel-size $PP --sequence-parallel \
    --use-distributed-optimizer --micro-batch-size 1 --global-batch-size $((GPUS_PER_NODE * NNODES * 4)) \
    --bf16 --lr 1e-4 --data-path $1
