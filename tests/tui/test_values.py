"""Values as lines: text, JSON, hex, whatever the bytes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from etcdops.ids import Revision
from etcdops.tui.feed import KeyEntry
from etcdops.tui.model.text import line_width, plain
from etcdops.tui.model.values import TEXT_BYTES_MAX, Format, render_value
from etcdops.tui.model.versions import KeyHistory, history_lines
from etcdops.tui.screens.key_edits import confirm_name, editable_text


def shown(data: bytes, form: Format = Format.AUTO, cells: int = 80) -> list[str]:
    return [plain(line) for line in render_value(data, form, cells).lines]


@given(st.binary(max_size=400), st.sampled_from(Format), st.integers(2, 120))
def test_any_value_shows_in_any_format_at_any_width(data: bytes, form: Format, cells: int) -> None:
    """Never an error, never a character that is not one."""
    rendered = render_value(data, form, cells)
    for line in rendered.lines:
        assert plain(line).isprintable()
        if rendered.format is not Format.HEX:
            assert line_width(line) <= max(cells, 14)


def test_json_is_indented_and_says_so() -> None:
    rendered = render_value(b'{"a":[1,"\xe9\xa2\x86"]}', Format.AUTO, 80)
    assert rendered.format is Format.JSON
    assert [plain(line) for line in rendered.lines] == ["{", '  "a": [', "    1,", '    "领"', "  ]", "}"]


def test_what_looks_like_json_and_is_not_shows_as_text() -> None:
    assert shown(b"{not json") == ["{not json"]
    rendered = render_value(b"plain", Format.JSON, 80)
    assert (rendered.format, rendered.note) == (Format.TEXT, "not JSON, shown as text")
    assert render_value(b"[" * 100_000, Format.AUTO, 80).format is Format.TEXT


def test_kubernetes_protobuf_shows_as_hex_and_is_named() -> None:
    rendered = render_value(b"k8s\x00\n\x09", Format.AUTO, 80)
    assert rendered.format is Format.HEX
    assert "Kubernetes" in rendered.note
    assert plain(rendered.lines[0]).startswith("00000000  6b 38 73 00 0a 09")


def test_hex_lines_are_made_one_by_one() -> None:
    """A megabyte opens at once: only visible lines are made."""
    rendered = render_value(bytes(1 << 20), Format.HEX, 80)
    assert len(rendered.lines) == 65_536
    assert plain(rendered.lines[65_535]).startswith("000ffff0")


def test_a_large_text_shows_its_beginning_and_says_so() -> None:
    rendered = render_value(b"x" * (1 << 20), Format.AUTO, 100)
    assert rendered.note == "first 256 KB of 1.0 MB; x shows all as hex"
    assert sum(len(plain(line)) for line in rendered.lines) == TEXT_BYTES_MAX
    wide = render_value("领".encode() * 200_000, Format.AUTO, 100)
    assert wide.format is Format.TEXT


def test_control_characters_in_text_are_escaped() -> None:
    assert shown(b"a\x1b[2J\nb", Format.TEXT) == ["a\\x1b[2J", "b"]
    assert shown(b"one\r\ntwo\tthree\n") == ["one", "two    three"]
    assert shown(b"") == ["(empty value)"]


def test_only_text_that_an_editor_gives_back_unchanged_can_be_edited() -> None:
    assert editable_text(b'{"a": 1}\n') == '{"a": 1}\n'
    for value in (b"\xff", b"a\r\nb", b"a\x00", json.dumps("\x1b").encode().replace(b"\\u001b", b"\x1b")):
        assert editable_text(value) is None


def test_a_write_is_confirmed_by_the_last_part_of_the_name() -> None:
    assert confirm_name(b"/registry/pods/web-1") == "web-1"
    assert confirm_name(b"/svc/a[/b]/") == "b]"
    assert confirm_name(b"///") == "yes"
    assert len(confirm_name(b"x" * 500)) == 32


def test_a_history_walks_back_to_the_creation_or_the_compaction() -> None:
    history = KeyHistory(b"k")
    assert history.before() == 0
    for version, revision in ((3, 30), (2, 20)):
        history.take(KeyEntry(b"k", Revision(10), Revision(revision), version, value=b"v" * 500))
        assert history.before() == revision - 1
        assert not history.complete
    compacted = KeyHistory(b"k", list(history.versions))
    compacted.take_compacted()
    assert compacted.end == "older versions were compacted away"
    history.take(KeyEntry(b"k", Revision(10), Revision(10), 1))
    assert history.complete
    assert history.end == "created at revision 10"
    assert max(len(version.entry.value) for version in history.versions) <= 200
    assert [plain(block[0])[:7] for block in history_lines(history, 80)] == ["rev 30 ", "rev 20 ", "rev 10 ", "created"]
