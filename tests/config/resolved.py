"""A configuration resolved against a model of 32 layers and 32 heads."""

from roofline.config.settle import resolve, train_config
from roofline.model.load import load_model

LLAMA = load_model("llama-3-8b")


def resolved(model=LLAMA, **options):
    return resolve(train_config(options), model)
