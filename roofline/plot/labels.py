"""Where labels go beside their points so that nothing overlaps: plain geometry, in pixels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

_ANGLES = 32
_RADII = (1.0, 1.6, 2.4, 3.4, 4.6, 6.0, 7.6, 9.5, 12.0)  # in label heights
_ROUNDS = 3  # after the first, each label is placed again among all others
# what each fault costs, in label heights of distance: a height of covered marker, a line run over, a crossing
_OVER_OBSTACLE, _OVER_LINE, _CROSSING = 8.0, 12.0, 3.0

Xy = tuple[float, float]
Segment = tuple[Xy, Xy]


class Box(msgspec.Struct, frozen=True):
    """A rectangle with sides along the axes.

    >>> Box(0, 0, 2, 2).overlap(Box(1, 1, 3, 3)), Box(0, 0, 1, 1).overlap(Box(1, 0, 2, 1))
    (1, 0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """Area that two boxes share."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(width, 0) * max(height, 0)

    def inside(self, bounds: Box) -> bool:
        """Whether the whole box lies within `bounds`."""
        return self.x0 >= bounds.x0 and self.y0 >= bounds.y0 and self.x1 <= bounds.x1 and self.y1 <= bounds.y1

    def padded(self, by: float) -> Box:
        """The box grown by `by` on all sides."""
        return Box(self.x0 - by, self.y0 - by, self.x1 + by, self.y1 + by)

    def nearest(self, point: Xy) -> Xy:
        """The point of the box closest to `point`: where a leader line ends."""
        return min(max(point[0], self.x0), self.x1), min(max(point[1], self.y0), self.y1)

    def edges(self) -> tuple[Segment, ...]:
        """The four sides and a diagonal, so that a line inside the box crosses one too."""
        a, b, c, d = (self.x0, self.y0), (self.x1, self.y0), (self.x1, self.y1), (self.x0, self.y1)
        return (a, b), (b, c), (c, d), (d, a), (a, c)


def cross(first: Segment, second: Segment) -> bool:
    """Whether two segments cross; a shared end is not a crossing.

    >>> cross(((0, 0), (2, 2)), ((0, 2), (2, 0))), cross(((0, 0), (1, 1)), ((1, 1), (2, 0)))
    (True, False)
    """

    def side(a: Xy, b: Xy, c: Xy) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    (a, b), (c, d) = first, second
    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def place(
    anchors: Sequence[Xy],
    sizes: Sequence[Xy],
    bounds: Box,
    *,
    obstacles: Iterable[Box] = (),
    fixed: Iterable[Box] = (),
    lines: Iterable[Segment] = (),
    barriers: Iterable[Segment] = (),
    gap: float = 2.0,
) -> list[Box | None]:
    """Place a label of each size near its anchor, the first ones first.

    Args:
        anchors: The points that labels belong to, the most important first.
        sizes: Width and height of each label.
        bounds: Labels stay inside.
        obstacles: What labels should not cover: markers.
        fixed: What labels and their leaders must not cover: other text.
        lines: What labels should not lie on.
        barriers: What labels must not lie on, but leaders may cross.
        gap: Free space around each label.

    Returns:
        A box for each label, none overlapping another or its leader; None where there is no room.
    """
    obstacles, fixed, lines, barriers = list(obstacles), list(fixed), list(lines), list(barriers)
    placed: list[Box | None] = [None] * len(anchors)
    for _ in range(_ROUNDS):
        before = list(placed)
        for index, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
            others = [(box, anchors[i]) for i, box in enumerate(placed) if box is not None and i != index]
            placed[index] = _best(anchor, size, bounds, others, obstacles, fixed, lines, barriers, gap)
        if placed == before:
            break
    return placed


def _best(
    anchor: Xy,
    size: Xy,
    bounds: Box,
    others: Sequence[tuple[Box, Xy]],
    obstacles: Sequence[Box],
    fixed: Sequence[Box],
    lines: Sequence[Segment],
    barriers: Sequence[Segment],
    gap: float,
) -> Box | None:
    """The cheapest place that is inside the bounds and clear of the other labels."""
    best, lowest = None, math.inf
    leaders = [(box.nearest(point), point) for box, point in others]
    taken = [*fixed, *(box for box, _ in others)]
    height = size[1]
    for box in _candidates(anchor, size):
        room = box.padded(gap)
        if not room.inside(bounds) or any(room.overlap(other) for other in taken):
            continue
        end = box.nearest(anchor)
        cost = math.dist(end, anchor) / height
        if cost < lowest:
            cost += _OVER_OBSTACLE * sum(math.sqrt(room.overlap(each)) for each in obstacles) / height
        if cost < lowest:
            cost += _OVER_LINE * sum(any(cross(edge, line) for edge in room.edges()) for line in lines)
        if cost < lowest and any(cross(edge, line) for line in barriers for edge in room.edges()):
            continue
        if cost < lowest:
            leader = (end, anchor)
            if any(cross(leader, edge) for other in taken for edge in other.edges()):
                continue
            if any(cross(other, edge) for other in leaders for edge in room.edges()):
                continue
            cost += _CROSSING * sum(cross(leader, other) for other in (*leaders, *lines))
        if cost < lowest:
            best, lowest = box, cost
    return best


def _candidates(anchor: Xy, size: Xy) -> Iterable[Box]:
    """Boxes around the anchor, at growing distance from it."""
    width, height = size
    for radius in _RADII:
        for step in range(_ANGLES):
            angle = 2 * math.pi * step / _ANGLES
            dx, dy = math.cos(angle), math.sin(angle)
            # the centre lies so far out that the box just touches the circle around the anchor
            x = anchor[0] + dx * radius * height + dx * width / 2
            y = anchor[1] + dy * radius * height + dy * height / 2
            yield Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions at least `gap` apart, in the order given (rising) and as near to those wanted as can be.

    Neighbours that touch move as one block, centred on the mean of what its members want.
    Gaps shrink where the range from `low` to `high` is too short for all.

    >>> spread([0.0, 1.0, 9.0], gap=2.0, low=-10, high=10)
    [-0.5, 1.5, 9.0]
    """
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    blocks: list[list[float]] = []  # first position wanted by each member, members one gap apart
    for value in wanted:
        blocks.append([value])
        while len(blocks) > 1:
            before, last = blocks[-2], blocks[-1]
            if sum(before) / len(before) + gap * len(before) <= sum(last) / len(last):
                break
            blocks[-2:] = [before + [each - gap * len(before) for each in last]]
    positions: list[float] = []
    for block in blocks:
        start = sum(block) / len(block)
        positions += [start + gap * step for step in range(len(block))]
    return _within(positions, gap, low, high)


def _within(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Push what sticks out at either end back inside, and its neighbours along."""
    for index, position in enumerate(positions):
        positions[index] = max(position, low + gap * index)
    for index, position in enumerate(reversed(positions)):
        positions[-1 - index] = min(position, high - gap * index)
    return positions
