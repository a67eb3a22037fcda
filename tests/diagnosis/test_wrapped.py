"""Logs whose lines a terminal broke: they are diagnosed as if it had not."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from etcdops.diagnosis.diagnose import diagnose, diagnose_lines
from etcdops.diagnosis.parts import LEAST_SIZE
from etcdops.diagnosis.reading import Block, Damaged, Source
from etcdops.diagnosis.wrapped import rejoined, unbroken, wrap_of
from tests.diagnosis.cases import Case, answer, held_out, made, posted

WIDTHS = (80, 100, 120, 132, 160)
SOME = [width if width in (80, 132) else pytest.param(width, marks=pytest.mark.exhaustive) for width in WIDTHS]
HEAD = "2024-05-02 10:00:0{} W | etcdserver: "


def broken(line: str, width: int) -> Iterator[str]:
    """The rows of a terminal that is so wide."""
    row, columns = "", 0
    for character in line:
        wide = 1 + (unicodedata.east_asian_width(character) in "WF")
        if columns + wide > width:
            yield row
            row, columns = "", 0
        row, columns = row + character, columns + wide
    yield row


def rows(text: str, width: int) -> list[str]:
    return [row for line in text.splitlines() for row in broken(line, width)]


def source_of(path: Path) -> Source:
    return Source(path.name, path, path.stat().st_size)


@pytest.mark.slow
@pytest.mark.parametrize("width", SOME)
def test_a_log_that_a_terminal_broke_has_the_same_first_finding(width: int) -> None:
    """Every log that people posted, at the usual widths."""
    assert lost_at(width, posted()) == []


def lost_at(width: int, cases: Sequence[Case]) -> list[str]:
    """Those that have another first finding when they are broken there."""
    broken_ones = ((case, diagnose_lines(rows(case.text, width), case.name)) for case in cases)
    return [case.name for case, diagnosis in broken_ones if answer(diagnosis) != answer(case.diagnosed())]


@pytest.mark.slow
def test_few_of_the_excerpts_of_others_lose_their_finding() -> None:
    """Some are of text without any head, in which nobody can tell where a line ended."""
    cases = held_out()[::4]
    assert len(lost_at(80, cases)) <= 0.02 * len(cases)


@pytest.mark.exhaustive
@pytest.mark.parametrize("width", WIDTHS)
def test_few_of_all_excerpts_lose_their_finding(width: int) -> None:
    """The same at every width."""
    cases = held_out()
    lost = lost_at(width, cases)
    assert len(lost) <= 0.015 * len(cases), lost


def test_logs_that_were_not_broken_are_left_alone() -> None:
    """All labelled logs; a few of them were broken, by their terminals, and one by chance."""
    found = {case.name for case in [*posted(), *made(), *held_out()] if wrap_of(case.text.splitlines())}
    broken = {
        "kelseyhightower/kubernetes-the-hard-way#899",
        "etcd-io/etcd#10686",
        "etcd-io/etcd#12758",
        "kubernetes/kubernetes#70082",
        "kubernetes/kubernetes#72102",
        "zeromicro/go-zero#3448",
    }
    assert found <= broken


def test_evidence_stands_on_the_line_where_it_began(tmp_path: Path) -> None:
    """Numbers are those of the file, and what is shown is the whole line."""
    case = next(case for case in posted() if case.category == "wal-corrupt")
    text = rows(case.text, 80)
    path = tmp_path / "etcd.log"
    path.write_text("\n".join(text), encoding="utf-8")
    finding = diagnose([source_of(path)]).findings[0]
    whole = set(case.text.splitlines())
    assert finding.slug == "wal-corrupt"
    for line in finding.evidence:
        assert line.text in {one.strip() for one in whole}
        assert line.text.startswith(text[line.line - 1].strip())


def test_a_file_gives_what_its_lines_give(tmp_path: Path) -> None:
    """Blocks of bytes go the same way as lines at hand."""

    def first(case: Case) -> str:
        path = tmp_path / "log"
        path.write_bytes("\r\n".join(rows(case.text, 120)).encode(errors="surrogateescape"))
        return answer(diagnose([source_of(path)]))

    cases = posted()[::4]
    assert [first(case) for case in cases] == [answer(case.diagnosed()) for case in cases]


def test_a_blank_at_the_edge_that_was_not_copied_is_put_back() -> None:
    """Terminals leave out blanks at the end of a row."""
    for edge in range(70, 90):
        text = HEAD.format(1) + "z" * (edge - len(HEAD) + 1) + " and more of it " + "w" * 80
        pieces = [row.rstrip() for row in broken(text, 80)]
        lines = [*pieces, HEAD.format(2), *[row.rstrip() for row in broken(HEAD.format(3) + "v" * 90, 80)]]
        wrap = wrap_of(lines)
        assert wrap is not None
        assert next(iter(rejoined(lines, wrap))) == text


def test_an_object_is_put_together_at_any_width() -> None:
    """An excerpt of one line tells its width to nobody."""
    line = '{"level":"fatal","ts":"2024-05-02T10:00:00Z","msg":"discovery failed","error":"couldn\'t find local name"}'
    pieces = [line[:61], line[61:90], line[90:]]
    wrap = wrap_of(pieces)
    assert wrap is not None
    assert list(rejoined(pieces, wrap)) == [line, "", ""]


def test_what_does_not_become_whole_stays_as_it_is() -> None:
    """A line that was cut is followed by what somebody wrote about it."""
    cut = '{"level":"warn","ts":"2024-05-02T10:00:00Z","msg":"prober detected unhe'
    lines = [cut, "this goes on for hours and then", "it stops", *rows(HEAD.format(1) + "x" * 200, 80)]
    wrap = wrap_of(lines)
    assert wrap is not None
    assert list(rejoined(lines, wrap)) == [*lines[:3], HEAD.format(1) + "x" * 200, "", ""]


@pytest.mark.parametrize("mark", [">", "\\"])
def test_the_mark_of_a_line_that_a_pager_cut_changes_nothing(mark: str) -> None:
    """journalctl and `less -S` show that a line goes on; what it went on with is lost."""
    for case in posted():
        cut = [line[:159] for line in case.text.splitlines()]
        marked = [line + mark * (len(line) == 159) for line in cut]
        assert answer(diagnose_lines(marked, "log")) == answer(diagnose_lines(cut, "log")), case.name


def test_tables_and_stack_traces_are_no_broken_lines() -> None:
    """Rows of one width, frames of one length."""
    table = ["+" + "-" * 90 + "+", *["| " + "x" * 88 + " |"] * 5, "+" + "-" * 90 + "+"]
    frames = ["panic: freepages: failed to get all reachable pages", "goroutine 1 [running]:"]
    frames += ["\t/go/src/github.com/coreos/etcd/cmd/vendor/github.com/coreos/bbolt/db.go:1003 +0x1234"] * 8
    same = [HEAD.format(1) + "x" * 60] * 5 + ["a remark"]
    assert [wrap_of(lines) for lines in (table, frames, same)] == [None, None, None]


def block_of(lines: list[bytes]) -> Block:
    return Block(b"".join(lines), lines)


def test_a_damaged_archive_gives_its_last_lines_first() -> None:
    """Of what was read nothing is lost to the error that ends it."""

    def blocks() -> Iterator[Block]:
        yield block_of([row.encode() + b"\n" for _ in range(3) for row in broken(HEAD.format(1) + "x" * 200, 80)])
        raise Damaged("cut")

    seen: list[bytes] = []

    def read() -> None:
        for block in unbroken(blocks()):
            seen.extend(block.lines)

    with pytest.raises(Damaged, match="cut"):
        read()
    assert [line for line in seen if line != b"\n"] == [(HEAD.format(1) + "x" * 200 + "\n").encode()] * 3


def test_a_log_that_was_not_broken_is_passed_on_untouched() -> None:
    """Also in memory: the very blocks that were read, for these are what a gigabyte comes in."""
    given = [block_of([(HEAD.format(1) + "x" * many + "\n").encode() for many in range(300)]) for _ in range(3)]
    assert [id(block) for block in unbroken(given)] == [id(block) for block in given]


def test_what_is_put_together_is_bounded() -> None:
    """A file of one word that never ends."""
    lines = [HEAD.format(1) + "x" * (80 - len(HEAD.format(1))), *["x" * 80] * 5000]
    wrap = wrap_of(lines)
    assert wrap is not None
    found = list(rejoined(lines, wrap))
    assert len(found) == len(lines)
    assert max(map(len, found)) <= 1000 * 80


@pytest.mark.exhaustive
def test_a_big_file_that_was_broken_is_read_whole(tmp_path: Path) -> None:
    """It is not given to several processes, which would cut it anywhere."""
    path = tmp_path / "big.log"
    row = [row + "\n" for row in broken(HEAD.format(1) + "x" * 200, 80)]
    tail = rows(
        '{"level":"fatal","ts":"2024-05-02T10:00:00Z","msg":"failed","error":"wal: crc mismatch ' + "y" * 90 + '"}', 80
    )
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < LEAST_SIZE:
            file.writelines(row * 10_000)
        file.write("\n".join(tail))
    assert answer(diagnose([source_of(path)])) == "wal-corrupt"
