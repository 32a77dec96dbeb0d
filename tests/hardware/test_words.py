"""Words of a name."""

from roofline.hardware.words import tokens


def test_letters_and_digits_stay_together_and_a_plus_is_a_word() -> None:
    assert tokens("NVIDIA RTX PRO 6000 (Blackwell)") == ("nvidia", "rtx", "pro", "6000", "blackwell")
    assert tokens("Xeon Platinum 8480+") == ("xeon", "platinum", "8480plus")
    assert tokens("h100-sxm_80gb") == ("h100", "sxm", "80gb")
    assert tokens(" - ") == ()
