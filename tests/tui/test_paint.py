"""From tones to terminal: contrast, ASCII, no colours."""

from __future__ import annotations

import pytest
from textual.color import Color

from etcdops.tui.app import ConsoleApp
from etcdops.tui.gate import WriteGate
from etcdops.tui.model.history import SPARKS
from etcdops.tui.model.text import Span, Tone
from etcdops.tui.paint import Painter
from etcdops.tui.theme import OWN_THEMES
from tests.fakes.cluster_feed import FakeFeed


def painter(theme: str, *, ascii_only: bool = False, no_color: bool = False) -> Painter:
    feed = FakeFeed()
    app = ConsoleApp(feed, title="t", gate=WriteGate(feed))
    variables = app.available_themes[theme].to_color_system().generate()
    return Painter(variables, ascii_only=ascii_only, no_color=no_color)


@pytest.mark.parametrize("theme", [theme.name for theme in OWN_THEMES])
@pytest.mark.parametrize("selected", ["", "cursor"])
def test_our_themes_can_be_read(theme: str, selected: str) -> None:
    """WCAG wants a contrast of 4.5 for text, also on the cursor's row; quiet text may have 3."""
    made = painter(theme)
    for tone in (Tone.PLAIN, Tone.TITLE, Tone.KEY, Tone.OK, Tone.WARN, Tone.FAIL, Tone.UNKNOWN, Tone.LABEL, Tone.DIM):
        style = made.style(tone, selected)
        assert style.color is not None
        assert style.bgcolor is not None
        ratio = contrast(Color.from_rich_color(style.color), Color.from_rich_color(style.bgcolor))
        assert ratio >= (4.5 if not selected and tone is not Tone.DIM else 3.0), f"{tone}: {ratio:.1f}"


def contrast(one: Color, other: Color) -> float:
    """The ratio WCAG 2.1 defines."""

    def luminance(color: Color) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_ascii_mode_draws_nothing_but_ascii_at_the_same_width() -> None:
    """The layout is the same; unknown characters of data become question marks of their width."""
    made = painter("etcdops-dark", ascii_only=True)
    for text in ("┌─ Members ─┐", "● OK ▲ ✖ ★ …", SPARKS, "█░", "领导者", "µ"):
        drawn = made.strip((Span(text),), 20).text
        assert drawn.isascii()
        assert len(drawn) == 20
    assert made.text("领导") == "????"


def test_text_that_nobody_made_safe_still_cannot_move_the_cursor() -> None:
    assert painter("etcdops-dark").text("a\x1b[2Jb\n") == "a?[2Jb?"


@pytest.mark.parametrize("theme", ["etcdops-dark", "ansi-dark", "textual-light"])
def test_without_colours_the_cursor_is_reversed(theme: str) -> None:
    """Neither the cursor nor anything else is told by colour alone."""
    assert painter(theme, no_color=True).style(Tone.PLAIN, "cursor").reverse


def test_terminal_colour_themes_work() -> None:
    """Their colours cannot be mixed."""
    made = painter("ansi-dark")
    assert made.style(Tone.PLAIN, "cursor").reverse
    assert made.style(Tone.DIM).dim
