"""How much an operator has to say before a change: the cluster's protection decides, in one place for all commands."""

from __future__ import annotations

import io
import sys

import pytest

from etcdops.cli.confirm import require_confirmation
from etcdops.errors import NotConfirmed
from etcdops.inventory.protection import Protection
from tests.cli.conftest import RunCli

NONE, NORMAL, PROTECTED = Protection.NONE, Protection.NORMAL, Protection.PROTECTED
BY_NAME = [(NORMAL, True), (PROTECTED, False), (PROTECTED, True)]
BY_YES = [(NONE, False), (NONE, True), (NORMAL, False)]


class Terminal(io.StringIO):
    """Somebody who has typed something."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["etcdops", "rollout", "apply", "-i", "my prod.yaml", "--yes"])


def ask(protection: Protection, severe: bool, *, confirm: str | None = None, yes: bool = False) -> None:
    require_confirmation("prod", protection=protection, severe=severe, confirm=confirm, yes=yes)


def test_the_two_lists_are_all_there_is() -> None:
    """A level that differs from another in nothing is none."""
    assert {*BY_NAME, *BY_YES} == {(one, severe) for one in Protection for severe in (False, True)}


@pytest.mark.parametrize(("protection", "severe"), [*BY_NAME, *BY_YES])
def test_a_script_confirms_by_the_name_or_by_yes(
    monkeypatch: pytest.MonkeyPatch, protection: Protection, severe: bool
) -> None:
    """Without a terminal nobody is asked; the hint is the line that would have done it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ask(protection, severe, confirm="prod")
    with pytest.raises(NotConfirmed, match="--confirm prdo is not the cluster's name"):
        ask(protection, severe, confirm="prdo", yes=True)
    with pytest.raises(NotConfirmed) as refused:
        ask(protection, severe)
    answer = "--confirm prod" if (protection, severe) in BY_NAME else "--yes"
    assert refused.value.hint == f"etcdops rollout apply -i 'my prod.yaml' {answer}"


def test_yes_is_enough_where_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where it is not, it is said whether that is for the change or for the cluster."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for protection, severe in BY_YES:
        ask(protection, severe, yes=True)
    for protection, severe in BY_NAME:
        with pytest.raises(NotConfirmed, match="by the cluster's name") as refused:
            ask(protection, severe, yes=True)
        why = "prod is protected" if protection is PROTECTED else "a change as severe as this one"
        assert why in refused.value.cause


@pytest.mark.parametrize(("protection", "severe"), [*BY_NAME, *BY_YES])
def test_at_a_terminal_the_name_is_typed_or_y(
    monkeypatch: pytest.MonkeyPatch, protection: Protection, severe: bool
) -> None:
    """A habit types y; where the name is wanted only the name goes on."""
    right, wrong = ("prod\n", "y\n") if (protection, severe) in BY_NAME else ("y\n", "prod\nn\n")
    monkeypatch.setattr(sys, "stdin", Terminal(right))
    ask(protection, severe)
    monkeypatch.setattr(sys, "stdin", Terminal(wrong))
    with pytest.raises(NotConfirmed, match="nothing was changed"):
        ask(protection, severe)


@pytest.mark.parametrize(
    "command",
    ["rollout apply", "cert renew", "cert rotate-ca", "recover", "runs resume", "runs rollback", "runs unlock"],
)
def test_every_command_that_changes_a_cluster_takes_both_answers(cli: RunCli, command: str) -> None:
    """So a script of several steps needs one answer, whatever the cluster's protection is."""
    said = cli(*command.split(), "--help").out
    assert "--yes" in said
    assert "--confirm" in said
