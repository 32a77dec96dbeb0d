"""The closed forms of a model's parameters, as a textbook writes them: the independent count for `projections`."""

from roofline.model.spec import Attention, LayerGroup, Linear, Mlp, ModelConfig, Moe


def total(model: ModelConfig) -> int:
    """All parameters; tied weights count once."""
    return outside(model) + sum(group.count * sum(layer(group, model.d_model)[:2]) for group in model.groups)


def active(model: ModelConfig) -> int:
    """Those one token passes through: of the experts those it visits."""
    result = outside(model)
    for group in model.groups:
        rest, experts = layer(group, model.d_model)
        visited = experts * group.mlp.experts_per_token // group.mlp.n_experts if isinstance(group.mlp, Moe) else 0
        result += group.count * (rest + visited)
    return result


def sum_of_encoder(encoder: ModelConfig) -> int:
    """All parameters of an encoder beside a language model."""
    return total(encoder)


def outside(model: ModelConfig) -> int:
    """Tables, head, norms and projections outside the layers."""
    width = model.embedding_dim or model.d_model
    total = model.vocab_size * width * (2 if model.has_head and not model.tied_embeddings else 1)
    total += model.learned_positions * model.d_model + model.token_types * width + model.extra_params
    total += model.has_head * model.head_bias * model.vocab_size + linears(model.linears)
    total += sum(sum_of_encoder(tower.encoder) + linears(tower.joins) + tower.extra_params for tower in model.towers)
    if model.embedding_dim is not None:
        total += model.embedding_dim * model.d_model * (2 if model.has_head else 1)  # in, and back out at the head
    total += model.head_norm.params(width) if model.head_norm else 0
    return total + sum(norm.params(model.d_model) for norm in (model.embedding_norm, model.final_norm) if norm)


def layer(group: LayerGroup, d_model: int) -> tuple[int, int]:
    """(everything but the routed experts, the routed experts) of one layer."""
    total, experts, mlp = group.extra_params + linears(group.linears), 0, group.mlp
    if group.shares_weights:  # beside those of attention and feed-forward, one norm is its own where there are three
        return total + sum(norm.params(d_model) for norm in group.norms[2:]), 0
    total += sum(norm.params(d_model) for norm in group.norms)
    if group.attention is not None and group.attention.d_in is not None:  # its norm is as wide as what it reads
        more, a = group.attention.d_in - d_model, group.attention
        total += group.norms[0].params(more) + more * a.n_heads * a.head_dim
        total += more * a.n_kv_heads * (a.head_dim + a.value_head_dim)
    total += sum(attention(a, d_model) for a in (group.attention, group.cross_attention) if a is not None)
    if isinstance(mlp, Mlp):
        total += feed_forward(mlp, d_model)
    elif mlp is not None:
        experts = mlp.n_experts * feed_forward(mlp.expert, mlp.latent_dim or d_model)
        if mlp.latent_dim is not None:
            total += 2 * d_model * mlp.latent_dim + mlp.latent_bias * (d_model + mlp.latent_dim)
        total += linear(d_model, mlp.n_experts, mlp.router_bias) + mlp.shared_gate * d_model + mlp.extra_params
        total += feed_forward(mlp.shared, d_model) if mlp.shared else 0
    return total, experts


def linear(d_in: int, d_out: int, bias: bool = False) -> int:
    """A projection ``[d_in, d_out]``."""
    return d_in * d_out + bias * d_out


def linears(projections: tuple[Linear, ...]) -> int:
    """Projections beside the common parts."""
    return sum(one.count * linear(one.d_in, one.d_out, one.bias) for one in projections)


def feed_forward(mlp: Mlp, d_model: int) -> int:
    """Up (and gate), down, and the norm before down."""
    up = linear(d_model, mlp.d_ff, mlp.up_bias) * (1 + mlp.gated)
    norm = mlp.sub_norm.params(mlp.d_ff) if mlp.sub_norm else 0
    return up + norm + linear(mlp.d_ff, d_model, mlp.down_bias)


def attention(a: Attention, d_model: int) -> int:
    """Projections, norms inside it, sinks, indexer."""
    total = a.sinks * a.n_heads + a.extra_params
    if a.index_heads:  # queries from the latent, keys, a weight per head, norms
        heads, width, keys = a.index_heads, a.index_head_dim, a.index_head_dim * a.index_key_matrices
        total += (a.q_lora_rank or d_model) * heads * width + d_model * (keys + heads * a.index_weights)
        total += a.index_extra_params
    if a.sub_norm is not None:
        total += a.sub_norm.params(a.n_heads * a.value_head_dim)
    values = a.n_heads * a.value_head_dim
    if a.out_lora_rank is not None:
        total += values * a.out_lora_rank  # out_groups matrices [values / out_groups, out_lora_rank]
        values = a.out_groups * a.out_lora_rank
    total += linear(values, d_model, a.out_bias) + queries(a, d_model)
    if a.kv_lora_rank is not None:
        total += latent(a, d_model)
    elif not a.reuses_kv:
        total += linear(d_model, a.n_kv_heads * a.head_dim, a.k_bias)
        if not a.value_is_key:
            total += linear(d_model, a.n_kv_heads * a.value_head_dim, a.v_bias)
    if a.q_norm is not None:
        total += a.q_norm.params(a.head_dim if a.qk_norm_per_head else a.n_heads * a.head_dim)
    if a.k_norm is not None and not a.reuses_kv:
        total += a.k_norm.params(a.head_dim if a.qk_norm_per_head else a.n_kv_heads * a.head_dim)
    return total


def queries(a: Attention, d_model: int) -> int:
    """The query projection, through a bottleneck where there is one."""
    if a.q_lora_rank is None:
        return linear(d_model, a.n_heads * a.head_dim, a.q_bias)
    norm = a.q_lora_norm.params(a.q_lora_rank) if a.q_lora_norm else 0
    down = linear(d_model, a.q_lora_rank, a.lora_bias)
    return down + norm + linear(a.q_lora_rank, a.n_heads * a.head_dim, a.q_bias)


def latent(a: Attention, d_model: int) -> int:
    """Keys and values of multi-head latent attention; the rope part of the key is shared by all heads."""
    rank = a.kv_lora_rank or 0
    norm = a.kv_lora_norm.params(rank) if a.kv_lora_norm else 0
    up_width = a.n_heads * (a.head_dim - a.rope_head_dim + a.value_head_dim)
    return linear(d_model, rank + a.rope_head_dim, a.lora_bias) + norm + linear(rank, up_width, a.k_bias)
