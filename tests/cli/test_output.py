"""Tables, symbols and values."""

from __future__ import annotations

import io

from etcdops.cli.output import (
    Cell,
    Column,
    Look,
    cell_width,
    choose_look,
    fit,
    hex_id,
    printable,
    render_table,
)

COLUMNS = (Column("NAME"), Column("SIZE", right=True), Column("EXTRA", optional=2), Column("MORE", optional=1))


def rows(*texts: tuple[str, ...]) -> list[list[Cell]]:
    return [[Cell(text) for text in row] for row in texts]


def test_columns_are_aligned_by_terminal_cells() -> None:
    """A Chinese character takes two cells; `len` would shear the table."""
    table = render_table(COLUMNS, rows(("领导者", "1", "a", "b"), ("x", "1000", "c", "d")), Look(), width=80)
    lines = table.splitlines()
    assert lines[1] == "领导者     1  a      b"
    assert [cell_width(line) for line in lines] == [25, 22, 22]


def test_optional_columns_go_when_it_is_tight_and_when_they_say_nothing() -> None:
    table = render_table(COLUMNS, rows(("n", "1", "long extra", "m")), Look(), width=18)
    assert table.splitlines()[0] == "NAME  SIZE  MORE"
    assert render_table(COLUMNS, rows(("n", "1", "-", "")), Look(), width=80).splitlines()[0] == "NAME  SIZE"


def test_no_line_ends_with_a_blank() -> None:
    table = render_table(COLUMNS, rows(("n", "1", "e", ""), ("n", "1", "", "m")), Look(), width=80)
    assert all(line == line.rstrip() for line in table.splitlines())


def test_control_characters_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[2J\nb\x00é领") == "a\\x1b[2J\\nb\\x00é领"


def test_a_text_that_is_too_long_is_cut_with_a_sign() -> None:
    assert fit("abcdef", 4) == "abc…"
    assert fit("领导者", 4) == "领…"
    assert fit("abc", 3) == "abc"


def test_a_stream_that_cannot_show_symbols_gets_ascii() -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert choose_look("auto", False, latin, {}).ascii
    assert not choose_look("auto", False, io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).ascii


def test_ids_are_16_hex_digits() -> None:
    assert hex_id(0xBEEF) == "000000000000beef"
    assert hex_id(None) is None
