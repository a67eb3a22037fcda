"""Text measured in cells, and safe for any bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from etcdops.tui.model.text import (
    Align,
    Span,
    Tone,
    chop,
    clean,
    clip,
    clip_middle,
    clip_words,
    cut,
    fit,
    fit_line,
    line_width,
    parse_printable,
    plain,
    printable_bytes,
    spread,
    width,
    wrap,
)


@given(st.binary())
def test_any_bytes_show_as_one_visible_line_that_reads_back(data: bytes) -> None:
    """What a screen shows of a key is what can be typed to find it."""
    shown = printable_bytes(data)
    assert shown.isprintable()
    assert parse_printable(shown) == data


@given(st.text(), st.text())
def test_clean_text_is_as_wide_as_its_parts(one: str, other: str) -> None:
    """No flag, skin tone or joiner changes the width of its neighbours, so cutting anywhere is safe."""
    joined = clean(one + other)
    assert joined.isprintable()
    assert cell_len(joined) == sum(cell_len(char) for char in joined)
    assert cell_len(clean(one)) + cell_len(clean(other)) == cell_len(clean(one) + clean(other))


def test_control_and_format_characters_are_written_as_escapes() -> None:
    """An escape sequence in a key must not reach the terminal."""
    assert clean("a\x1b[31mb\n\u202ec") == "a\\x1b[31mb\\n\\u202ec"
    assert printable_bytes(b"a\\n\n\xff\x00") == "a\\\\n\\n\\xff\\x00"
    assert printable_bytes("领导者/健康".encode()) == "领导者/健康"


@given(st.text(), st.integers(0, 40))
def test_cut_clip_and_fit_keep_to_their_cells(text: str, cells: int) -> None:
    """Also where a wide character would stand on the border."""
    text = clean(text)
    assert width(cut(text, cells)) <= cells
    for shortened in (clip(text, cells), clip_middle(text, cells), clip_words(text, cells)):
        assert width(shortened) <= max(cells, 0) or cells == 0
    for align in Align:
        assert width(fit(text, cells, align)) == cells


@given(st.lists(st.text()), st.integers(1, 60))
def test_a_fitted_line_is_exactly_as_wide_as_asked(texts: list[str], cells: int) -> None:
    """Frames stay straight whatever stands in them."""
    spans = tuple(Span(clean(text), Tone.PLAIN) for text in texts)
    assert line_width(fit_line(spans, cells)) == cells
    assert line_width(spread(spans, (Span("right"),), max(cells, 6))) == max(cells, 6)


@given(st.text(), st.integers(2, 30))
def test_chopped_text_loses_nothing(text: str, cells: int) -> None:
    """A value's long line is shown whole, in pieces."""
    pieces = chop(clean(text), cells)
    assert "".join(pieces) == clean(text)
    assert all(width(piece) <= cells for piece in pieces)


def test_sentences_are_cut_between_words() -> None:
    """No half words on a small terminal."""
    assert clip_words("check its host and process", 15) == "check its host…"
    assert clip_words("check its host and process", 26) == "check its host and process"
    assert clip_words("/a/very/long/name/without/blanks", 10) == "/a/very/l…"
    # Chinese has no blanks to cut at, and does not need any.
    assert clip_words("存在已知漏洞：多个 API 未做权限检查", 20) == "存在已知漏洞：多个…"
    assert clip_words("存在已知漏洞：多个 API 未做权限检查", 27) == "存在已知漏洞：多个 API 未…"


def test_names_are_cut_in_the_middle() -> None:
    """Names of one system differ at their ends."""
    assert clip_middle("/registry/pods/default/nginx-7fb96c846b-2xk9p", 20) == "/registry…846b-2xk9p"


def test_wrapped_text_breaks_at_blanks() -> None:
    assert wrap("one two three", 7) == ["one two", "three"]
    assert wrap("abcdefghij", 4) == ["abcd", "efgh", "ij"]


def test_fitting_a_line_keeps_tones() -> None:
    fitted = fit_line((Span("abc", Tone.OK), Span("defgh", Tone.FAIL)), 6)
    assert plain(fitted) == "abcde…"
    assert [span.tone for span in fitted] == [Tone.OK, Tone.FAIL]
