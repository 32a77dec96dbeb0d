"""Models as people read them: the presets, the parts of one, the types of config.json that are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..model.family import family_ids, load_family
from ..model.huggingface import unused_fields
from ..model.load import load_model
from ..model.parameters import Parameters, count_parameters, tower_parameters
from ..model.presets import model_ids
from ..model.quantization import weight_bytes
from ..model.spec import Attention, LayerGroup, Mlp, ModelConfig, Moe
from ..model.towers import table as towers
from ..reading import read_text
from ..units import format_bytes, format_count
from .table import Cell, Shown, Table
from .words import sentence

if TYPE_CHECKING:
    from ..tracing.architecture import Built


def one(model: ModelConfig, spec: str) -> Shown:
    """A model part by part; `spec` is what named it."""
    parameters = count_parameters(model)
    notes = [f"Source: {model.source}."] if model.source else []
    if model.quantization is not None:
        kind, stored = model.quantization, format_bytes(weight_bytes(model))
        notes.append(f"Stored in {kind.dtype} ({kind.method}), the rest in 16 bits: {stored}.")
    notes += [sentence(note) for note in model.assumptions]
    data = {
        **summary(model.name, model, parameters),
        "parameters": msgspec.to_builtins(parameters),
        "model": msgspec.to_builtins(model),
    }
    layers = [_layers(model), *(_layers(tower.encoder, tower.name) for tower in model.towers)]
    return Shown(data, [_parts(parameters, model), *layers], notes + _ignored(spec))


def built(model: Built) -> Shown:
    """A model as transformers builds it: its parameters by module."""
    rows: list[list[Any]] = [
        [name, Cell(count, f"{count:,}"), Cell(count / model.parameters, f"{count / model.parameters:.1%}")]
        for name, count in model.by_module.items()
    ]
    rows.append(["total", Cell(model.parameters, f"{model.parameters:,}"), Cell(1.0, "100.0%")])
    table = Table(f"Parameters of {model.source}", ["module", "parameters", "share"], rows, align="lrr")
    data = {"source": model.source, "params_total": model.parameters, "params_by_module": model.by_module}
    note = "Built with the class of transformers, without weights; 'roofline estimate' traces it."
    return Shown(data, [table], [note])


def catalog() -> Shown:
    """Every preset in one table, smallest first."""
    known = []
    for model_id in model_ids():
        model = load_model(model_id)
        known.append(summary(model_id, model, count_parameters(model)))
    rows = [
        [
            m["id"],
            Cell(m["params_total"], format_count(m["params_total"])),
            Cell(
                m["params_active"], "" if m["params_active"] == m["params_total"] else format_count(m["params_active"])
            ),
            m["n_layers"],
            Cell(m["d_model"], str(m["d_model"])),
            Cell(m["n_heads"], str(m["n_heads"])),
            Cell(m["n_kv_heads"], str(m["n_kv_heads"])),
            Cell(m["vocab_size"], str(m["vocab_size"])),
            Cell(m["max_seq_len"], str(m["max_seq_len"])),
        ]
        for m in known
    ]
    columns = ["model", "parameters", "active", "layers", "width", "heads", "kv heads", "vocabulary", "context"]
    keys = (
        "id",
        "params_total",
        "params_active",
        "n_layers",
        "d_model",
        "n_heads",
        "n_kv_heads",
        "vocab_size",
        "max_seq_len",
    )
    notes = [
        f"{len(known)} presets; 'roofline models ID' shows one and its source, '--set KEY=VALUE' changes it.",
        "A Hugging Face config.json ('roofline models --types' lists the types) or a .toml works as well.",
    ]
    return Shown({"models": known}, [Table("", columns, rows, keys=keys, align="l" + "r" * 8)], notes)


def types() -> Shown:
    """The model types that are counted, and those refused with the reason."""
    counted = sorted({*family_ids(), *towers()})
    refused = {name: load_family(name).refused for name in family_ids(refused=True)}
    sometimes = [name for name in family_ids() if load_family(name).refused_when]
    rows = [
        [name, "counted", "unless " + _reason(load_family(name).refused_when) if name in sometimes else ""]
        for name in counted
    ]
    rows += [[name, "refused", reason] for name, reason in refused.items()]
    rows.sort()
    notes = [
        f"{len(counted)} model types are counted, {len(refused)} refused by name rather than approximated.",
        "Any other that transformers has is built and traced by its own class, where that and torch are installed.",
    ]
    data = {"counted": counted, "refused": refused}
    return Shown(data, [Table("", ["model_type", "status", "why"], rows, align="lll")], notes)


def summary(model_id: str, model: ModelConfig, parameters: Parameters) -> dict[str, Any]:
    """What the catalog says of a model."""
    attention = next((group.attention for group in model.groups if group.attention is not None), None)
    return {
        "id": model_id,
        "kind": model.kind,
        "params_total": parameters.total,
        "params_active": parameters.active,
        "params_embedding": parameters.embedding,
        "n_layers": model.n_layers,
        "d_model": model.d_model,
        "n_heads": attention.n_heads if attention else None,
        "n_kv_heads": attention.n_kv_heads if attention else None,
        "vocab_size": model.vocab_size,
        "max_seq_len": model.max_seq_len,
        "tied_embeddings": model.tied_embeddings,
        "source": model.source,
    }


def _reason(expression: str) -> str:
    """The reason that a `refused_when` expression ends with."""
    return expression.rsplit(" and '", 1)[-1].rstrip("'")


def _parts(parameters: Parameters, model: ModelConfig) -> Table:
    """Parameters by part; they add up to the total."""
    sums: dict[str, int] = {"embedding": parameters.embedding, "positions": parameters.positions}
    for layer in parameters.layers:
        for part in ("attention", "mlp", "router", "experts", "norms", "other"):
            name = f"layers: {part}"
            sums[name] = sums.get(name, 0) + layer.count * getattr(layer, part)
    sums["head"] = parameters.head
    sums["other"] = parameters.other
    sums |= {f"encoder of {tower.name}s": tower_parameters(tower) for tower in model.towers}
    rows: list[list[Any]] = [
        [name, Cell(value, f"{value:,}"), Cell(value / parameters.total, f"{value / parameters.total:.1%}")]
        for name, value in sums.items()
        if value
    ]
    if model.has_head and model.tied_embeddings:
        rows.append(["head (tied: the embedding's table)", Cell(0, "0"), Cell(0.0, "")])
    rows.append(["total", Cell(parameters.total, f"{parameters.total:,}"), Cell(1.0, "100.0%")])
    if parameters.active != parameters.total:
        active = parameters.active
        rows.append(
            [
                "active per token",
                Cell(active, f"{active:,}"),
                Cell(active / parameters.total, f"{active / parameters.total:.1%}"),
            ]
        )
    return Table(f"Parameters of {model.name}", ["part", "parameters", "share"], rows, align="lrr")


def _layers(model: ModelConfig, sees: str = "") -> Table:
    """The groups of equal layers, of an encoder too."""
    rows = [
        [group.count, _mixer_text(group), _feed_forward_text(group.mlp), _other_text(group)] for group in model.groups
    ]
    of = f" of the encoder of {sees}s" if sees else ""
    title = f"Layers{of} (width {model.d_model})"
    return Table(title, ["layers", "mixer", "feed-forward", "norms and more"], rows, align="rlll")


def _mixer_text(group: LayerGroup) -> str:
    """What mixes tokens: attention, a recurrence, both, or a convolution."""
    texts = [_attention_text(group.attention)] if group.attention else []
    if group.recurrence is not None:
        r = group.recurrence
        if r.kind == "scan":
            texts.append(f"scan of {r.n_heads} channels, state {r.key_dim}")
        else:
            texts.append(f"{r.kind} recurrence, {r.n_heads} heads, state {r.key_dim} x {r.value_dim}")
    elif group.attention is None and group.linears:
        texts.append("convolution")
    return "; ".join(texts) or "none"


def _attention_text(a: Attention) -> str:
    kind = "MLA" if a.kv_lora_rank else "MHA" if a.n_kv_heads == a.n_heads else "MQA" if a.n_kv_heads == 1 else "GQA"
    text = f"{kind}, {a.n_heads} heads of {a.head_dim}"
    if kind in {"GQA", "MQA"}:
        text += f", {a.n_kv_heads} kv"
    if a.kv_lora_rank:
        text += f" ({a.value_head_dim} values), ranks q {a.q_lora_rank or '-'} kv {a.kv_lora_rank}"
    extras = {
        f"{'chunks of' if a.window_chunked else 'window'} {a.window}": a.window is not None,
        "bidirectional": not a.causal,
        "qk-norm": a.q_norm is not None,
        "qkv biases": a.q_bias or a.v_bias,
        "sinks": a.sinks,
        "soft cap": a.softcap,
        f"indexer of {a.index_heads} heads": a.index_heads > 0,
        "keys and values of an earlier layer": a.reuses_kv,
        "beside the embedding": a.d_in is not None,
    }
    return ", ".join([text, *(name for name, present in extras.items() if present)])


def _feed_forward_text(mlp: Mlp | Moe | None) -> str:
    if mlp is None:
        return "none"
    if isinstance(mlp, Mlp):
        return f"{'gated ' if mlp.gated else ''}{mlp.d_ff} ({mlp.activation})"
    shared = f" + shared {mlp.shared.d_ff}" if mlp.shared else ""
    return f"{mlp.experts_per_token} of {mlp.n_experts} experts of {mlp.expert.d_ff}{shared}"


def _other_text(group: LayerGroup) -> str:
    norm = group.norms[0].kind if group.norms else "no"
    texts = [f"{len(group.norms)} {norm} norms" if group.norms else "no norms"]
    texts += ["weights of an earlier layer"] if group.shares_weights else []
    texts += ["parallel block"] if group.parallel else []
    texts += ["cross-attention"] if group.cross_attention else []
    texts += [linear.name for linear in group.linears if not linear.name.startswith(("recurrence.", "conv"))]
    return ", ".join(texts)


def _ignored(spec: str) -> list[str]:
    """For a ``config.json``: the fields with a value that the counts do not depend on."""
    path = Path(spec)
    path = path / "config.json" if path.is_dir() else path
    if path.suffix != ".json" or not path.is_file():
        return []
    read, ignored = unused_fields(read_text(path, "model"), str(path))
    return [f"Read: {', '.join(read)}.", f"Not used: {', '.join(ignored) or 'nothing'}."]
