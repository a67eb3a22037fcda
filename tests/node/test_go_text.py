"""Go's ways to write values, from its own documentation and tests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.node import go_text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("5s", 5.0),
        ("-5s", -5.0),
        ("+5s", 5.0),
        ("5.s", 5.0),
        (".5s", 0.5),
        ("1h30m", 5400.0),
        ("10.5s4m", 250.5),
        ("1us", 1e-6),
        ("1µs", 1e-6),
        ("1μs", 1e-6),
        ("100ms", 0.1),
        ("3ns", 3e-9),
    ],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    """Go time package, TestParseDuration."""
    assert go_text.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", 'time: invalid duration ""'),
        ("3", 'time: missing unit in duration "3"'),
        ("-", 'time: invalid duration "-"'),
        ("s", 'time: invalid duration "s"'),
        (".", 'time: missing unit in duration "."'),
        ("3000d", 'time: invalid duration "3000d"'),
        ("1h x", 'time: invalid duration "1h x"'),
    ],
)
def test_what_is_no_duration_is_refused(text: str, problem: str) -> None:
    """Words of Go's time.ParseDuration."""
    with pytest.raises(ValueError) as refused:
        go_text.parse_duration(text)
    assert str(refused.value) in (problem, f'time: invalid duration "{text}"')


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1e-9, "1ns"),
        (1.1e-6, "1.1µs"),
        (2.2e-3, "2.2ms"),
        (0.1, "100ms"),
        (3.3, "3.3s"),
        (60, "1m0s"),
        (245.001, "4m5.001s"),
        (7200, "2h0m0s"),
        (18367.001, "5h6m7.001s"),
        (-1.5, "-1.5s"),
    ],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    """Go time package, TestDurationString."""
    assert go_text.format_duration(seconds) == text


@given(st.integers(-(10**15), 10**15))
def test_a_written_duration_reads_the_same(nanoseconds: int) -> None:
    """Writing loses nothing down to the nanosecond, within what a float holds."""
    seconds = nanoseconds / 1e9
    assert go_text.parse_duration(go_text.format_duration(seconds)) == pytest.approx(seconds, abs=2e-9)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("12345", 12345), ("0x1F", 31), ("0b11", 3), ("010", 8), ("0o10", 8), ("1_000", 1000)],
)
def test_integers_of_any_base_are_read(text: str, number: int) -> None:
    """Go strconv.ParseUint with base 0."""
    assert go_text.parse_integer(text, low=0, high=2**64 - 1) == number


@pytest.mark.parametrize("text", ["", " 1", "1 ", "-1", "+1", "1_", "_1", "1__0", "0x", "08", "1.0", "ten", "١"])
def test_what_is_no_unsigned_integer_is_refused(text: str) -> None:
    """Go strconv.ParseUint."""
    with pytest.raises(ValueError, match="parse error"):
        go_text.parse_integer(text, low=0, high=100)


def test_integers_have_a_range() -> None:
    """Signs only where numbers may be negative."""
    assert go_text.parse_integer("-5", low=-10, high=10) == -5
    assert go_text.parse_integer("+5", low=-10, high=10) == 5
    with pytest.raises(ValueError, match="value out of range"):
        go_text.parse_integer("11", low=-10, high=10)


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("\n\t\r\a\b\f\v", '"\\n\\t\\r\\a\\b\\f\\v"'),
        ("\x00\x7f", '"\\x00\\x7f"'),
        ("Ünï", '"Ünï"'),
        ("\u200b", '"\\u200b"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_texts_are_quoted(text: str, quoted: str) -> None:
    """Go strconv.Quote."""
    assert go_text.quote(text) == quoted


def test_booleans_have_six_words_each() -> None:
    """Go strconv.ParseBool."""
    assert all(go_text.parse_bool(text) for text in ("1", "t", "T", "TRUE", "true", "True"))
    assert not any(go_text.parse_bool(text) for text in ("0", "f", "F", "FALSE", "false", "False"))
    with pytest.raises(ValueError, match="parse error"):
        go_text.parse_bool("yes")
