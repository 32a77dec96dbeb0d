"""What joins the cards of a machine, by what NVML says of every pair."""

import pytest

from roofline.hardware.detect.nvml import Recording
from roofline.hardware.detect.peers import host_kind


def recording(peer: object, level: object = 30) -> Recording:
    return Recording(
        {"nvmlDeviceGetP2PStatus(gpu0, gpu1, 0)": peer, "nvmlDeviceGetTopologyCommonAncestor(gpu0, gpu1)": level}
    )


@pytest.mark.parametrize(
    ("peer", "level", "generation", "kind"),
    [
        (0, 10, 4, "p2p-switch"),
        (0, 30, 4, "p2p-root"),
        (0, {"error": 3}, 4, "p2p-root"),
        (2, 10, 4, "staged"),
        (2, 30, 5, "staged-fast"),
        (2, 30, None, "staged"),
        ({"error": 3}, 10, 4, None),
        ("yes", 10, 4, None),
    ],
)
def test_the_kind_follows_from_peer_access_and_the_common_ancestor(
    peer: object, level: object, generation: int | None, kind: str | None
) -> None:
    assert host_kind(recording(peer, level), [0, 1], generation) == kind


def test_one_card_has_no_host() -> None:
    assert host_kind(recording(0), [0], 4) is None
