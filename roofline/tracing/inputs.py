"""Example inputs of a module of transformers, by the names that its forward pass takes.

What each name holds is in `inputs.toml`: shapes, and integers with values. A class does not say which of its optional
inputs it needs, nor in which order its dimensions are, so there are several choices, to be tried in turn.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import product
from math import prod
from typing import Any

import msgspec

from ..reading import packaged, read_packaged

_DEFAULT_SEQ_LEN, _LONGEST, _LONGEST_SOUND = 512, 8192, 3000
_LENGTHS = ("max_position_embeddings", "n_positions", "max_source_positions")
_SHAPES_OF_NUMBERS, _SHAPES_OF_REST = range(6), range(2)  # in which a name's shape may come, the likeliest first
_IMAGE_TOKEN, _VIDEO_TOKEN = ("image_token_id", "image_token_index"), ("video_token_id", "video_token_index")
_TOKENS_OF_IMAGE = ("num_query_tokens", "image_seq_length", "image_seq_len", "mm_tokens_per_image", "num_image_tokens")
_IMAGES, _PATCHES, _FRAMES = (0, 4, 5), (1,), (3,)  # in which of the shapes of pixel_values a language model takes them
_OF_IMAGES = {
    "input_ids",
    "pixel_values",
    "image_grid_thw",
    "aspect_ratio_ids",
    "aspect_ratio_mask",
    "cross_attention_mask",
}
_STRIDE = 32  # pixels that the last of five stages joins
_IN_PLACE = {"inputs_embeds", "encoder_hidden_states"}  # of other inputs


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sizes: dict[str, list[str]]
    numbers: dict[str, list[str]]
    ids: dict[str, list[str]]
    ones: dict[str, list[str]]
    rows: dict[str, str]
    values: dict[str, str]


@cache
def _table() -> _Table:
    return read_packaged(packaged(__name__) / "inputs.toml", _Table)


def choices(torch: Any, module: Any, settings: Any, batch: int, seq_len: int | None) -> Iterator[dict[str, Any]]:
    """Keyword inputs of `batch` examples of `seq_len` tokens (or images, or a second of sound each).

    First, of a language model that sees, with an image in each; then its main input and those it cannot do without,
    each with its likeliest shape; then other shapes; then with all that it takes besides. What is like an earlier one
    is left out.

    Args:
        torch: The package.
        module: The module, whose forward pass names what it takes.
        settings: Its configuration of transformers.
        batch: Examples.
        seq_len: Tokens of each; None: as many as it has positions, at most 512.
    """
    takes = inspect.signature(module.forward).parameters
    main = getattr(module, "main_input_name", "input_ids")
    wanted = {*(main if isinstance(main, (list, tuple)) else [main])}
    wanted |= {name for name, parameter in takes.items() if parameter.default is inspect.Parameter.empty}
    if getattr(settings, "is_encoder_decoder", False):
        wanted.add("decoder_input_ids")
    if hasattr(module, "logit_scale"):  # two towers that are compared: each has an input
        wanted |= {"input_ids", "pixel_values", "input_features"}
    sizes = _sizes(settings, batch, seq_len)
    seen: list[Any] = []
    yield from _with_images(torch, takes, wanted, settings, sizes)
    tensors = {name for name in takes if name in _table().numbers or name in _table().ids}
    sets = (wanted, wanted | tensors - _IN_PLACE, wanted | set(takes) - _IN_PLACE, {*takes} - {"inputs_embeds"})
    for rest, names, numbers in product(_SHAPES_OF_REST, sets, _SHAPES_OF_NUMBERS):
        inputs = {name: value for name in takes if name in names for value in _input(torch, name, sizes, numbers, rest)}
        shapes = {name: tuple(value.shape) for name, value in inputs.items()}
        if shapes and shapes not in seen:
            seen.append(shapes)
            yield inputs | ({"use_cache": False} if "use_cache" in takes else {})


def name_token(settings: Any) -> None:
    """Give a model that sees a token that stands for an image where its configuration states none (as BLIP-2's own)."""
    for name in (*_IMAGE_TOKEN, *_VIDEO_TOKEN):
        if getattr(settings, name, 0) is None:
            setattr(settings, name, 1)


def _with_images(
    torch: Any, takes: Collection[str], wanted: set[str], settings: Any, sizes: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Inputs of a language model that sees: an image in each example, and as many tokens that stand for it.

    How many that is a configuration may say (one number for each image), or they are those of its patches, or of what
    five halvings leave of its sides (Florence-2).
    """
    if not {"input_ids", "pixel_values"} <= set(takes):
        return
    for tokens, shapes, pictures in ((_IMAGE_TOKEN, _IMAGES, 1), (_VIDEO_TOKEN, _FRAMES, sizes["clip"])):
        token = next((id_ for name in tokens if isinstance(id_ := getattr(settings, name, None), int)), None)
        if token is None:
            continue
        stated = [number for name in _TOKENS_OF_IMAGE if isinstance(number := getattr(settings, name, None), int)]
        patches = sizes["patches"]
        cells = (sizes["height"] // _STRIDE) * (sizes["breadth"] // _STRIDE)
        counts = dict.fromkeys([*stated, patches // sizes["merge"] ** 2, patches, patches + 1, cells, cells + 1])
        names = wanted | _OF_IMAGES
        for count, shape in product(counts, _PATCHES if "image_grid_thw" in takes else shapes):
            number = pictures * count
            here = {**sizes, "tokens": max(sizes["tokens"], number + 1)}
            inputs = {name: value for name in takes if name in names for value in _input(torch, name, here, shape, 0)}
            inputs["input_ids"][:, :number] = token
            yield inputs | ({"use_cache": False} if "use_cache" in takes else {})


def _input(torch: Any, name: str, sizes: Mapping[str, int], numbers: int, rest: int) -> list[Any]:
    """The tensor of a name that is known, of the shape with this number (the last one where there are fewer)."""
    table = _table()

    def shape(shapes: list[str], turn: int = 0) -> list[int]:
        return [sizes[word] if word in sizes else int(word) for word in shapes[min(turn, len(shapes) - 1)].split()]

    if name in table.numbers:
        return [torch.empty(shape(table.numbers[name], numbers), device="meta")]
    if name in table.ids:
        return [torch.zeros(shape(table.ids[name], rest), dtype=torch.long)]
    if name in table.ones:
        return [torch.ones(shape(table.ones[name], rest), dtype=torch.bool if rest else torch.long)]
    if name in table.rows:
        return [torch.tensor([shape([table.rows[name]])] * sizes["batch"])]
    if name in table.values:
        return [torch.tensor(shape([table.values[name]]) * sizes["batch"])]
    return []


def _sizes(settings: Any, batch: int, seq_len: int | None) -> dict[str, int]:
    """What the words of a shape stand for in a configuration."""
    parts = [settings, *(part for part in vars(settings).values() if hasattr(part, "to_dict"))]

    def stated(*names: str) -> Any:
        found = (getattr(part, name, None) for part in parts for name in names)
        return next((value for value in found if value is not None), None)

    def pair(value: Any, usual: int) -> tuple[int, int]:
        values = list(value.values()) if isinstance(value, Mapping) else value
        sides = values if isinstance(values, (list, tuple)) and len(values) > 1 else [value, value]
        return tuple(side if isinstance(side, int) else usual for side in sides[-2:])  # type: ignore[return-value]

    sizes = {"batch": batch}
    for word, (*fields, usual) in ((word, fields) for word, fields in _table().sizes.items() if fields):
        value = stated(*fields)
        sizes[word] = value if isinstance(value, int) else sizes.get(usual) or int(usual)
    longest = stated(*_LENGTHS)
    bounded = isinstance(longest, int) and longest > 0  # XLNet's -1: no bound
    sizes["tokens"] = seq_len or min(longest if bounded else _LONGEST, _DEFAULT_SEQ_LEN)
    positions = stated("max_source_positions")
    sizes["frames"] = 2 * positions if isinstance(positions, int) else min(sizes["frames"], _LONGEST_SOUND)
    sizes["height"], sizes["breadth"] = pair(stated("image_size"), 224)
    patch = pair(stated("patch_size"), 16)
    sizes["rows"], sizes["columns"] = sizes["height"] // patch[0], sizes["breadth"] // patch[1]
    sizes["patches"] = sizes["rows"] * sizes["columns"]
    sizes["pieces"] = batch * sizes["patches"]  # of all images, one behind the other
    sizes["patch"] = sizes["channels"] * sizes["depth"] * prod(patch)
    sizes["flattened"] = 2 + sizes["channels"] * prod(patch)  # with the row and the column of the patch
    sizes["future"] = stated("prediction_length") or 1
    sizes["past"] += max(stated("lags_sequence") or [0])
    return sizes
