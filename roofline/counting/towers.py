"""The encoders beside a language model: every image or clip is a sequence of its encoder, ahead of the model's own.

Their layers are ops of part ``tower``, of kinds numbered through all encoders; what embeds an image, and what joins it
to the language model, runs with the embedding. All of it is on the first pipeline stage, and images are dealt out over
the ranks of context parallelism.
"""

from __future__ import annotations

import msgspec

from ..arrays import Number, divide, is_scalar
from ..config.run import known
from ..model.spec import ModelConfig, Tower
from . import layers
from .recorder import Tape
from .recurrence import linears


def record_towers(tape: Tape, model: ModelConfig) -> dict[int, Number]:
    """Record the encoders of `model`; returns the bytes of a layer's input by the place of the layer's first op."""
    entries: dict[int, Number] = {}
    kind = 0
    for tower in model.towers:
        each = tape.train.taken_in(tower.name)
        here, first = _tape_of(tape, tower, each), len(tape.ops)
        unused = is_scalar(each) and each == 0
        with here.freezing("towers"):
            here.frozen = here.frozen or unused
            here.input_needs_grad = not here.frozen
            layers.embedding(here, tower.encoder)
            here.part = "tower"
            for here.layer_kind, group in enumerate(tower.encoder.groups, start=kind):
                here.count = group.count
                entries[len(here.ops)] = tower.encoder.d_model * here.norm_tokens * here.stream_es
                layers.layer(here, group, tower.encoder.d_model)
                if group.extra_params:
                    here.weight("extra", divide(group.extra_params, tape.train.tp))
            kind += len(tower.encoder.groups)
            here.count, here.part, here.layer_kind = 1, "embedding", 0
            layers.head(here, tower.encoder)
            if tower.encoder.extra_params:
                here.weight("extra", tower.encoder.extra_params)
        here.frozen = tape.frozen or unused
        size = tape.train.image_size if tower.name == "image" else None
        if tower.reads and tower.encoder.patches is not None:
            linears(here, tower.reads, here.batch * tower.encoder.patches.number(size))
        linears(here, tower.joins, here.batch * tower.rows(size))
        if tower.extra_params:
            here.weight("joins.extra", tower.extra_params)
        if unused:  # they are there, and nothing runs
            del tape.ops[first:]
            entries = {place: size for place, size in entries.items() if place < first}
    return entries


def _tape_of(tape: Tape, tower: Tower, each: Number) -> Tape:
    """A tape for one encoder, which adds to `tape`: each sequence of the model has `each` images or clips."""
    train, patches = tape.train, tower.encoder.patches
    assert patches is not None  # what a tower reads has a usual size (`model.towers`)
    times = divide(each, train.cp) if not (is_scalar(each) and each == 0) else 1
    train = msgspec.structs.replace(
        train,
        micro_batch=train.micro_batch * times,
        global_batch=known(train.global_batch) * times,
        seq_len=patches.number(train.image_size if tower.name == "image" else None) + patches.beside,
        cp=1,
        mean_len=None,
        packing=None,
    )
    here = Tape(train, tape.stack)
    here.ops, here.weights, here.part = tape.ops, tape.weights, "embedding"
    here.prefix = f"{tower.name}."
    return here
