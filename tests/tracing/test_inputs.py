"""Example inputs by the names that a forward pass takes: no torch, a stand-in with the four makers of tensors."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from roofline.tracing.inputs import choices, name_token

TORCH = SimpleNamespace(
    long=np.int64,
    bool=np.bool_,
    empty=lambda shape, **_: np.empty(shape),
    zeros=np.zeros,
    ones=np.ones,
    tensor=np.array,
)


class Settings(SimpleNamespace):
    """A configuration, or a part of one."""

    def to_dict(self) -> dict[str, Any]:
        return vars(self)


class Caption:
    """Sees and reads."""

    main_input_name = "input_ids"

    def forward(
        self, input_ids: Any = None, pixel_values: Any = None, labels: Any = None, use_cache: Any = None
    ) -> None:
        """Both are optional."""


class Contrast(Caption):
    """Compares the two."""

    logit_scale = 1.0


class Tower:
    """Takes patches, and how many there are each way."""

    main_input_name = "hidden_states"

    def forward(self, hidden_states: Any, grid_thw: Any) -> None:
        """Neither is optional."""


class Hearing:
    """Takes a spectrum."""

    main_input_name = "input_features"

    def forward(self, input_features: Any, attention_mask: Any = None) -> None:
        """The order of its dimensions is not said."""


VISION = Settings(image_size=[64, 32], patch_size=16, num_channels=1)


def shapes(module: Any, settings: Any, **options: Any) -> list[dict[str, list[int]]]:
    """Shapes of the choices by name."""
    found = choices(TORCH, module, settings, options.get("batch", 1), options.get("seq_len"))
    return [{name: list(value.shape) for name, value in each.items() if name != "use_cache"} for each in found]


def test_what_a_model_cannot_do_without_comes_first_then_the_rest() -> None:
    settings = Settings(max_position_embeddings=77, vision_config=VISION)
    first, second, *_ = shapes(Caption(), settings, batch=2)
    assert first == {"input_ids": [2, 77]}
    assert second == {"input_ids": [2, 77], "pixel_values": [2, 1, 64, 32]}
    assert shapes(Contrast(), settings)[0] == {"input_ids": [1, 77], "pixel_values": [1, 1, 64, 32]}


def test_a_language_model_that_sees_has_an_image_among_its_tokens() -> None:
    settings = Settings(max_position_embeddings=77, image_token_id=9, image_seq_length=3, vision_config=VISION)
    found = list(choices(TORCH, Caption(), settings, 2, None))
    assert [list(found[0][name].shape) for name in ("input_ids", "pixel_values")] == [[2, 77], [2, 1, 64, 32]]
    tokens = [int((each["input_ids"] == 9).sum()) for each in found]
    assert tokens[:9:3] == [2 * 3, 2 * 4 * 2, 2 * (4 * 2 + 1)]  # as stated; one a patch; and a class token
    assert tokens[9] == 2 * 2  # 64 x 32 pixels, halved five times: two tokens
    assert tokens[-1] == 0


@pytest.mark.parametrize(
    ("seq_len", "positions", "tokens"), [(None, 4096, 512), (None, 64, 64), (1024, 4096, 1024), (None, -1, 512)]
)
def test_tokens_are_those_asked_for_or_a_few_hundred(seq_len: int | None, positions: int, tokens: int) -> None:
    settings = Settings(max_position_embeddings=positions)
    assert shapes(Caption(), settings, seq_len=seq_len)[0] == {"input_ids": [1, tokens]}


def test_patches_and_the_grid_that_they_form() -> None:
    settings = Settings(image_size=64, patch_size=16, in_channels=3, temporal_patch_size=2, hidden_size=8)
    found = list(choices(TORCH, Tower(), settings, 1, None))
    patches = next(each for each in found if each["hidden_states"].shape == (16, 3 * 2 * 16 * 16))
    assert patches["grid_thw"].tolist() == [[1, 4, 4]]


def test_the_order_of_a_spectrum_is_tried_both_ways() -> None:
    found = [each["input_features"] for each in shapes(Hearing(), Settings(num_mel_bins=80, max_source_positions=50))]
    assert found[:3] == [[1, 80, 100], [1, 100, 80], [1, 1, 100, 80]]


def test_a_model_whose_configuration_names_no_token_for_images_gets_one() -> None:
    """BLIP-2's own default has none, and that of InstructBLIP for video none for clips."""
    settings = Settings(max_position_embeddings=77, image_token_id=None, num_query_tokens=3, vision_config=VISION)
    name_token(settings)
    first = next(iter(choices(TORCH, Caption(), settings, 1, None)))
    assert int((first["input_ids"] == settings.image_token_id).sum()) == 3
    settings = Settings(
        max_position_embeddings=77, video_token_id=None, num_query_tokens=3, num_frames=2, vision_config=VISION
    )
    name_token(settings)
    first = next(iter(choices(TORCH, Caption(), settings, 1, None)))
    assert list(first["pixel_values"].shape) == [1, 2, 1, 64, 32]
    assert int((first["input_ids"] == settings.video_token_id).sum()) == 2 * 3


def test_pieces_of_all_images_lie_one_behind_the_other() -> None:
    settings = Settings(image_size=64, patch_size=16, in_channels=3, temporal_patch_size=2, hidden_size=8)
    found = list(choices(TORCH, Tower(), settings, 2, None))
    pieces = next(each for each in found if each["hidden_states"].shape == (2 * 16, 3 * 2 * 16 * 16))
    assert pieces["grid_thw"].tolist() == [[1, 4, 4]] * 2
