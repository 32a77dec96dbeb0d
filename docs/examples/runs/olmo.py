"""OLMo-core: torchrun --nproc-per-node=8 --nnodes=8 olmo.py run"""

DEFAULT_SEQUENCE_LENGTH = 4096


def build_config(options, overrides):
    length = options.sequence_length or DEFAULT_SEQUENCE_LENGTH
    model = TransformerConfig.olmo2_7B(vocab_size=TokenizerConfig.dolma2().padded_vocab_size())
    loader = NumpyDataLoaderConfig(global_batch_size=1024 * 4096, seed=34521)
    module = TransformerTrainModuleConfig(
        rank_microbatch_size=2 * 4096,  # tokens
        max_sequence_length=length,
        optim=SkipStepAdamWConfig(lr=3e-4),
        compile_model=True,
        dp_config=TransformerDataParallelConfig(name=DataParallelType.hsdp, param_dtype=DType.bfloat16),
    )
    return ExperimentConfig(model=model, data_loader=loader, train_module=module).merge(overrides)
