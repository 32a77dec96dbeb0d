"""How an image, or a clip of sound, becomes the tokens of an encoder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

_WHOLE: Mapping[str, Callable[[float], int]] = {"cut": math.floor, "nearest": round, "up": math.ceil}


class Patches(msgspec.Struct, frozen=True, kw_only=True):
    """How one image, or one clip of sound, becomes the tokens of an encoder.

    Attributes:
        size: Pixels of a side of the usual image, or frames of the usual clip.
        piece: Pixels of a side, or frames, that make one token.
        sides: 2 of an image, 1 of a clip.
        beside: Further tokens: of the class, registers.
        share: Of its pieces that become tokens; a masked autoencoder drops the others once they are embedded.
        fit: How an image whose side is no multiple of a piece is made to be: cut, or resized to the nearest or next.
        multiple: Pieces of a side whose multiple it is made, where so many merge.
    """

    size: int
    piece: int
    sides: int = 2
    beside: int = 0
    share: float = 1.0
    fit: Literal["cut", "nearest", "up"] = "cut"
    multiple: int = 1

    def number(self, size: int | None = None) -> int:
        """Tokens of an image or clip of that size, the further ones left out."""
        units = (size or self.size) / (self.piece * self.multiple)
        whole = max(1, _WHOLE[self.fit](units))
        return round((whole * self.multiple) ** self.sides * self.share)
