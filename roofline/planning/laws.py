"""Scaling laws (``laws.toml``): size and tokens that make the most of a compute, and what other tokens cost."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import msgspec

from ..counting.mfu import attention_flops_per_token, matmul_weights
from ..errors import RooflineError, look_up, unknown
from ..model.load import load_model
from ..model.parameters import count_parameters
from ..model.size import LARGEST, SMALLEST
from ..model.spec import ModelConfig, default_seq_len
from ..reading import packaged, read_packaged
from ..units import format_count

DEFAULT_LAW = "chinchilla-refit"
ROUNDS = 4  # in which a decoder of a size is found: embeddings are a falling part of it
Size = Literal["parameters", "non_embedding", "flops_per_token"]


class Allocation(msgspec.Struct, frozen=True, kw_only=True):
    """A size and the tokens it is trained on.

    Attributes:
        size: As a law counts it.
        tokens: Tokens, each seen once.
    """

    size: float
    tokens: float


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a law says of a training.

    Attributes:
        law: Its name.
        loss: Nats per token; None where the law knows none.
        flops: Compute of the training, as the law counts it.
        least_flops: Compute of the optimal training of the same loss; of the same compute where no loss is known.
        optimal_tokens: Tokens at which the model's size would be the optimal one.
        better_parameters: Parameters of that optimal training, embeddings and head included.
        better_tokens: Its tokens.
    """

    law: str
    loss: float | None
    flops: float
    least_flops: float
    optimal_tokens: float
    better_parameters: float
    better_tokens: float

    @property
    def excess(self) -> float | None:
        """Compute beyond that of the optimal training of the same loss, as a share of it; None without a loss.

        >>> round(law("chinchilla-refit").judge(load_model("llama-3-8b"), 15e12).excess, 1)  # 5.5 times the compute
        4.5
        """
        return None if self.loss is None else self.flops / self.least_flops - 1


class Loss(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """L(N, D) = E + A/N^alpha + B/D^beta, in nats per token of the data it was fitted to.

    Attributes:
        irreducible: E, the loss that neither size nor tokens reduce.
        of_size: A, what the size reduces, of one parameter.
        of_tokens: B, what the tokens reduce, of one token.
        alpha: How fast the size reduces it.
        beta: How fast the tokens reduce it.
    """

    irreducible: float
    of_size: float
    of_tokens: float
    alpha: float
    beta: float

    @property
    def exponent(self) -> float:
        """Of the compute in the optimal size (arXiv:2203.15556, equation 4)."""
        return self.beta / (self.alpha + self.beta)

    @property
    def scale(self) -> float:
        """G of that equation: the optimal size is G (C/6)^exponent."""
        return float((self.alpha * self.of_size / (self.beta * self.of_tokens)) ** (1 / (self.alpha + self.beta)))

    def at(self, size: float, tokens: float) -> float:
        """The loss of so many parameters on so many tokens."""
        return float(self.irreducible + self.of_size / size**self.alpha + self.of_tokens / tokens**self.beta)

    def flops(self, loss: float) -> float:
        """FLOPs that reach a loss at the optimal sizes, where what is reducible falls as (C/6)^-(alpha x exponent)."""
        at_one = self.at(self.scale, 1 / self.scale) - self.irreducible
        return float(6 * (at_one / (loss - self.irreducible)) ** (1 / (self.alpha * self.exponent)))


class Law(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One law of ``laws.toml``: a ratio, a power law through a point, or a loss.

    Attributes:
        name: As it is asked for.
        size: What it calls N.
        source: Paper and place.
        tokens_per_parameter: Of a ratio.
        exponent: Of the compute in the size, where it is a power law.
        at: A size and tokens on that power law.
        loss: The loss that the optimum follows from.
    """

    name: str
    size: Size
    source: str
    tokens_per_parameter: float | None = None
    exponent: float | None = None
    at: Allocation | None = None
    loss: Loss | None = None

    def size_of(self, model: ModelConfig, seq_len: int | None = None) -> float:
        """The size of a model as this law counts it, of the experts those that a token visits.

        Raises:
            RooflineError: It is a traced module, of which no law is known.
        """
        if model.recorded is not None:
            raise RooflineError(f"{self.name} is a rule for text, and {model.name} is a traced module")
        counted = count_parameters(model)
        if self.size == "parameters":
            return float(counted.active)
        if self.size == "non_embedding":
            return float(counted.active - counted.embedding - counted.positions - counted.head)
        head = (model.embedding_dim or model.d_model) * model.vocab_size if model.has_head else 0
        attention = attention_flops_per_token(model, seq_len or default_seq_len(model))
        return float(6 * (matmul_weights(model) - head) + 3 * attention)

    def flops(self, size: float, tokens: float) -> float:
        """The compute of a training, as this law counts it."""
        return size * tokens * self._per_size

    @property
    def _per_size(self) -> int:
        return 1 if self.size == "flops_per_token" else 6

    def optimal(self, flops: float) -> Allocation:
        """Size and tokens that make the most of a compute.

        >>> best = law("chinchilla-1").optimal(5.76e23)  # Gopher's: 67B on 1.5T (arXiv:2203.15556, table 3)
        >>> f"{best.size / 1e9:.0f}B on {best.tokens / 1e12:.1f}T"
        '68B on 1.4T'
        """
        if self.tokens_per_parameter is not None:
            size = (flops / (self._per_size * self.tokens_per_parameter)) ** 0.5
        elif self.loss is not None:
            size = self.loss.scale * (flops / 6) ** self.loss.exponent
        else:
            at, exponent = self._power
            size = at.size * (flops / self.flops(at.size, at.tokens)) ** exponent
        return Allocation(size=size, tokens=flops / (self._per_size * size))

    def optimal_tokens(self, size: float) -> float:
        """Tokens at which a size is the optimal one: the compute is a power of it, found from two points."""
        low, high = (self.optimal(flops) for flops in (1e20, 1e26))
        share = math.log(size / low.size) / math.log(high.size / low.size)
        return low.tokens * (high.tokens / low.tokens) ** share

    @property
    def _power(self) -> tuple[Allocation, float]:
        if self.at is None or self.exponent is None:
            raise TypeError(f"law {self.name}: neither a ratio nor a loss nor a point with its exponent")
        return self.at, self.exponent

    def decoder(self, size: float, seq_len: int | None = None) -> ModelConfig:
        """The plain Llama-like decoder of about a size as this law counts it, or the smallest or largest there is."""
        parameters = size / 6 if self.size == "flops_per_token" else size
        for _ in range(ROUNDS):
            found = load_model(format_count(min(max(parameters, SMALLEST), LARGEST)))
            parameters *= size / self.size_of(found, seq_len)
        return found

    def parameters(self, size: float, seq_len: int | None = None) -> float:
        """All parameters of a size as this law counts it; of a plain Llama-like decoder where it counts others."""
        return size if self.size == "parameters" else count_parameters(self.decoder(size, seq_len)).total

    def judge(self, model: ModelConfig, tokens: float, seq_len: int | None = None) -> Verdict:
        """What this law says of a model trained on so many tokens."""
        size = self.size_of(model, seq_len)
        flops = self.flops(size, tokens)
        loss = None if self.loss is None else self.loss.at(size, tokens)
        least = flops if loss is None or self.loss is None else self.loss.flops(loss)
        better = self.optimal(least)
        return Verdict(
            law=self.name,
            loss=loss,
            flops=flops,
            least_flops=least,
            optimal_tokens=self.optimal_tokens(size),
            better_parameters=self.parameters(better.size, seq_len),
            better_tokens=better.tokens,
        )


class BatchRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of the batch that trains best with a compute C: coefficient x C^exponent."""

    coefficient: float
    exponent: float
    source: str


class _Laws(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``laws.toml``."""

    batch: BatchRule
    law: list[Law]


@cache
def _tables() -> _Laws:
    return read_packaged(packaged(__name__) / "laws.toml", _Laws)


@cache
def laws() -> dict[str, Law]:
    """Every law by name."""
    return {each.name: each for each in _tables().law}


def best_batch(flops: float) -> float:
    """Tokens of a batch that train best with a compute (arXiv:2401.02954, equation 1): larger ones waste some.

    >>> f"{best_batch(6 * 67e9 * 2e12):.2g}"  # DeepSeek 67B, which took 4,608 sequences of 4,096 tokens: 1.9e7
    '1.9e+07'
    """
    rule = _tables().batch
    return rule.coefficient * flops**rule.exponent


def law(name: str) -> Law:
    """A law by its name.

    Raises:
        RooflineError: There is none of that name.
    """
    if not isinstance(name, str):
        raise unknown("scaling law", name, laws())
    return look_up("scaling law", name.strip().lower(), laws())
