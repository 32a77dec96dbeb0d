"""How much a model's encoders take in: images and clips of sound per sample, filled where not said, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..arrays import Number, first_where, is_scalar, some, where
from ..errors import RooflineError, shown
from ..model.patches import Patches
from ..model.spec import ModelConfig, Tower, default_seq_len
from .run import LARGEST, TrainConfig

OPTION = {"image": "images_per_sample", "sound": "clips_per_sample"}
WORDS = {"image": "image", "sound": "clip of sound"}


def usual_intake(train: TrainConfig, model: ModelConfig) -> dict[str, Number]:
    """Images and clips per sample where nothing is said: one each, none where its tokens exceed the sequence."""
    seq_len = default_seq_len(model, train.image_size) if train.seq_len is None else train.seq_len
    return {OPTION[tower.name]: where(seq_len >= tower.rows(_size(train, tower)), 1, 0) for tower in model.towers}


def image_patches(model: ModelConfig) -> Patches | None:
    """How an image becomes tokens, of an encoder beside the model or of the model itself; None: it sees none."""
    found = [tower.encoder.patches for tower in model.towers if tower.name == "image"]
    return found[0] if found else model.patches if model.kind == "vision" else None


def check_towers(train: TrainConfig, model: ModelConfig) -> None:
    """Refuse images without an encoder of them, of no size, or with more tokens than a sequence has.

    Raises:
        RooflineError: What the option can be.
    """
    known = {tower.name for tower in model.towers}
    for what, name in OPTION.items():
        each = getattr(train, name)
        if each is None:
            continue
        if what not in known:
            raise RooflineError(f"{name} {shown(each)}: {model.name} has no encoder of {what}s: leave it out")
        bad = first_where(1 - ((each >= 0) & (each <= LARGEST)), each)
        if bad is not None:
            raise RooflineError(f"{name} must be 0 or more, got {shown(bad[0])}")
    if train.image_size is not None:
        _check_size(train.image_size, model)
    _check_length(train, model)
    if "towers" in train.freeze and not model.towers:
        raise RooflineError(f"freeze towers: {model.name} has no encoder of images or sound: leave it out")


def _check_size(size: Any, model: ModelConfig) -> None:
    """An image has a patch at least, and something that sees it."""
    patches = image_patches(model)
    if patches is None:
        raise RooflineError(f"image_size {shown(size)}: {model.name} sees no images of a usual size: leave it out")
    least = patches.piece
    if not least <= size <= LARGEST:
        raise RooflineError(f"image_size must be a whole number of pixels from {least}, one patch, got {shown(size)}")


def _check_length(train: TrainConfig, model: ModelConfig) -> None:
    """What the encoders hand over is part of the sequence."""
    rows: Number = 0
    for tower in model.towers:
        if tower.in_sequence:
            rows = rows + getattr(train, OPTION[tower.name]) * tower.rows(_size(train, tower))
    bad = first_where(rows > train.sample_length, rows, train.sample_length)
    if bad is not None:
        raise RooflineError(
            f"a sample's images and sound are {bad[0]:,.0f} tokens of {model.name}, and a sample has {bad[1]:,.0f}: "
            "lengthen --seq-len, or lower --images-per-sample"
        )


def tower_notes(train: TrainConfig, model: ModelConfig, options: Mapping[str, Any]) -> tuple[str, ...]:
    """What was assumed of images and sound, as sentences."""
    notes = []
    for tower in model.towers:
        name, what = OPTION[tower.name], WORDS[tower.name]
        each = getattr(train, name)
        if name in options or not is_scalar(each):
            continue
        if not each:
            notes.append(f"assumed: no {what}, whose tokens exceed the sequence (--{name.replace('_', '-')})")
            continue
        patches, size = tower.encoder.patches, _size(train, tower)
        assert patches is not None  # what a tower reads has a usual size (`model.towers`)
        side = size or patches.size
        shape, options_for = (f" of {side} x {side}", ", --image-size") if tower.name == "image" else ("", "")
        rows = f", {tower.rows(size):,.0f} tokens of the sequence" if tower.in_sequence else ""
        notes.append(
            f"assumed: 1 {what}{shape} per sample, {patches.number(size):,} tokens of its encoder{rows} "
            f"(--{name.replace('_', '-')}{options_for})"
        )
    if some(train.cp > 1) and model.towers:
        notes.append("assumed: images are dealt out over the ranks of context parallelism")
    return tuple(notes)


def _size(train: TrainConfig, tower: Tower) -> int | None:
    """Pixels of a side, where the option says."""
    return train.image_size if tower.name == "image" else None
