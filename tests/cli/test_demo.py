"""How the demo's story reads on a terminal of 80 columns."""

from __future__ import annotations

import io
import sys

import click
import pytest

from etcdops.cli.demo import DemoTeller
from etcdops.cli.options import Invocation
from etcdops.cli.output import cell_width
from etcdops.client.view import ClusterView
from etcdops.playbooks.plan import Plan
from tests.cli.test_status_view import CASES

LONG = "without any server: checksum and structure are right, hash 08a25ab5, revision 1791, 1790 keys, 1796 entries"


def plan() -> Plan:
    """One whose sentences are long, and more than nine."""
    return Plan(
        procedure="recover-from-snapshot",
        cluster="demo",
        inputs={},
        summary=tuple(f"{LONG} ({number})" for number in range(12)),
        losses=(LONG,),
    )


@pytest.mark.parametrize("view", CASES.values(), ids=CASES)
def test_no_line_of_the_story_is_broken_by_the_terminal(view: ClusterView, capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: lines end at words, also where what another command prints is told indented."""
    teller = DemoTeller(Invocation(general={"color": "always"}))
    teller.say(LONG)
    teller.checked(LONG)
    teller.status(view)
    teller.plan(plan())
    told = [click.unstyle(line) for line in capsys.readouterr().out.splitlines()]
    too_long = [line for line in told if cell_width(line) > 80 and len(line.split()) > 1]
    assert not too_long
    assert all(line.startswith("  ") for line in told if line), "indented below its chapter"


def test_what_is_waited_for_is_shown_on_a_terminal_and_gone_with_the_next_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe gets neither."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, shown in ((Terminal(), "\r\x1b[K  until a member leads ...\r\x1b[K"), (io.StringIO(), "")):
        monkeypatch.setattr(sys, "stderr", stream)
        teller = DemoTeller(Invocation())
        teller.waiting("until a member leads ...")
        teller.say("m1 leads")
        assert stream.getvalue() == shown
