"""The model of a published row."""

from roofline.validation.row_model import model_of

from .published_rows import MIXTRAL, ROW


def test_known_mixtures_come_from_their_preset():
    assert model_of({**ROW, **MIXTRAL}).name == "mixtral-8x7b"
    other = model_of({**ROW, **MIXTRAL, "d_model": "2048", "d_ff_expert": "7168"})
    assert other.groups[0].mlp.expert.d_ff == 7168
