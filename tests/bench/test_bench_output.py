"""What `make bench` prints and saves; the measuring itself is no test."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.bench.ceilings import needed
from tests.bench.chart import chart
from tests.bench.figures import Better, Ceiling, Report, Row, Verdict, load, save, table
from tests.bench.run import Best

ROWS = (
    Row("1 member", "puts, 100 clients", "puts/s", 8000.0, 2400.0, target=0.35),
    Row("1 member", "CPU per put", "us", 64.0, 65.0, Better.LOWER, 1.5),
    Row("growth", "puts at many keys < few", "of those", 0.5, 0.9, target=0.8, own=True),
    Row("growth", "start-up", "s", 0.0, 0.3, Better.LOWER),
)
_SVG = "{http://www.w3.org/2000/svg}"
CEILINGS = (Ceiling("puts", 40_000.0),)
WHY = {"1 member: puts, 100 clients": ["  50.0%  1 calls  file.py:1 function"]}
REPORT = Report("2026-01-01T00:00:00+00:00", {"etcd": "3.5.16"}, ROWS, CEILINGS, WHY)


def test_a_row_is_judged_by_its_ratio_or_by_the_nodes_own_value() -> None:
    """Targets of issue "Prove the node": some are ratios to etcd, one is for the node alone."""
    assert [row.verdict for row in ROWS] == [Verdict.SHORT, Verdict.MET, Verdict.MET, Verdict.NONE]
    assert REPORT.short == [ROWS[0]]
    assert Row("", "", "", 10.0, 16.0, Better.LOWER, 1.5).verdict is Verdict.SHORT


def test_the_table_shows_both_values_the_ratio_and_what_falls_short() -> None:
    """A reader sees a missed target without doing sums."""
    lines = table(ROWS)
    assert lines[1] == "1 member"
    assert " ".join(lines[2].split()) == "puts, 100 clients puts/s 8,000 2,400 0.30 >= 0.35 falls short"
    assert lines[3].split()[-2:] == ["1.5", "met"]
    assert lines[2].index("0.30") == lines[3].index("1.02"), "columns are aligned"
    assert table(ROWS, markdown=True)[2].startswith("| 1 member: puts, 100 clients | puts/s |")


def test_the_load_is_held_against_the_fastest_member() -> None:
    """A load that is as fast as a member measures itself."""
    assert needed(list(ROWS), "puts") == 8000.0
    assert needed(list(ROWS), "reads") == 0.0


def test_a_share_is_that_of_the_middle_round() -> None:
    """Other work on the machine may spoil a round of one store, not what is said about growth."""
    many = Best([{"rate": 9.0}, {"rate": 80.0}, {"rate": 85.0}])
    few = Best([{"rate": 100.0}, {"rate": 100.0}, {"rate": 20.0}])
    assert many.median_share("rate", few) == 0.8


def test_what_is_saved_is_read_back_the_same(tmp_path: Path) -> None:
    """Charts are drawn from saved runs too."""
    path = tmp_path / "deep" / "bench.json"
    save(REPORT, path)
    assert load(path) == Report(REPORT.taken_at, REPORT.setting, list(ROWS), CEILINGS, WHY)
    assert [entry.name for entry in path.parent.iterdir()] == ["bench.json"]


def test_the_chart_has_a_bar_for_every_figure_and_colours_what_falls_short() -> None:
    """The picture may not tell a nicer story than the table: left of the line is worse, whatever is measured."""
    root = ElementTree.fromstring(chart(REPORT))
    bars = [rect for rect in root.iter(_SVG + "rect") if rect.get("class") in ("short", "ahead", "behind")]
    assert [bar.get("class") for bar in bars] == ["short", "behind", "behind"]
    ends = [float(bar.get("x", "")) + float(bar.get("width", "")) for bar in bars]
    assert max(ends) - min(ends) < 2, "all of them end where both engines are equal"
    longest, *_ = sorted(bars, key=lambda bar: -float(bar.get("width", "")))
    assert longest is bars[0]
    texts = [element.text or "" for element in root.iter(_SVG + "text")]
    assert {"2,400", "8,000", "puts/s", "0.30", "puts at many keys < few"} <= set(texts)
