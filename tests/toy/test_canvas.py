"""The id map: which pixels a polygon fills, and the outlines of a mask."""

import numpy as np

from captioning.toy.canvas import fill, outlines


def test_fill_takes_the_pixels_whose_centers_are_inside():
    ids = np.zeros((6, 8), np.uint8)
    fill(ids, np.array([(16, 16), (80, 16), (80, 64), (16, 64)]), 1)  # x 1..5, y 1..4
    assert ids.sum() == 12
    assert ids[1:4, 1:5].all()
    triangle = np.zeros((40, 40), np.uint8)
    fill(triangle, np.array([(0, 0), (640, 0), (0, 640)]), 1)
    assert triangle.sum() == 40 * 41 / 2
    fill(ids, np.array([(-500, -500), (900, -500), (200, 900)]), 2)  # beyond every edge
    assert (ids == 2).any()


def test_outlines_go_around_each_part():
    mask = np.zeros((20, 30), bool)
    mask[2:8, 3:13] = mask[12:18, 20:26] = True
    mask[4, 5] = False  # a hole is dropped
    assert len(outlines(mask)) == 2
    first = np.array(outlines(mask)[0]).reshape(-1, 2)
    assert first.min(0).tolist() == [3, 2]
    assert first.max(0).tolist() == [13, 8]
    assert outlines(np.zeros((4, 4), bool)) == []
