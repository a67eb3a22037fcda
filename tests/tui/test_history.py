"""Histories: bounded, with peaks kept and gaps shown."""

from __future__ import annotations

from etcdops.tui.model.history import BUCKETS, ZOOMS, Series, sparkline


def test_a_series_keeps_the_peak_of_a_bucket_and_shows_gaps() -> None:
    """A short peak is what an operator looks for; a missing sample is not a zero."""
    series = Series()
    for at_s, value in ((0.0, 1.0), (1.0, 9.0), (2.0, 2.0), (6.0, None), (9.0, 3.0)):
        series = series.add(at_s, value)
    cells = series.cells(0, BUCKETS, 9.0)
    assert cells[-4:] == [9.0, None, None, 3.0]
    assert cells[:-4] == [None] * (BUCKETS - 4)


def test_a_series_is_bounded_and_forgets_what_left_its_span() -> None:
    """A week of looks takes no more memory than a day."""
    series = Series()
    for step in range(5_000):
        series = series.add(step * 20.0, float(step))
    assert all(len(track.values) <= BUCKETS for track in series.tracks)
    far = series.cells(0, 10, 5_000 * 20.0 + ZOOMS[0].span_s * 2)
    assert far == [None] * 10


def test_adding_leaves_the_older_series_as_it_was() -> None:
    """A paused screen keeps the series it has."""
    before = Series().add(0.0, 1.0)
    before.add(100.0, 5.0)
    assert before.latest == 1.0
    assert before.cells(0, 4, 0.0)[-1] == 1.0


def test_zooming_out_shows_the_same_peak_in_fewer_cells() -> None:
    series = Series().add(0.0, 1.0).add(300.0, 7.0).add(301.0, 1.0)
    for zoom in range(1, len(ZOOMS)):
        assert max(value for value in series.cells(zoom, 12, 301.0) if value is not None) == 7.0


def test_sparklines_show_gaps_as_blanks_and_small_noise_as_flat() -> None:
    assert sparkline([0.0, None, 4.0, 8.0], least_span=8.0) == "▁ ▅█"
    assert sparkline([1.0, 1.1, 1.0], floor=None, least_span=10.0) == "▁▁▁"
    assert sparkline([None, None]) == "  "
    assert sparkline([5.0, 5.0], floor=None) == "▁▁"
