"""Which boxes of a picture lie on one another."""


def overlaps(boxes):
    return [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if a.overlap(b) > 1]
