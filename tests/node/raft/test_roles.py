"""The tables are complete: every role meets every message, and no role changes outside of its table."""

from __future__ import annotations

import inspect
import itertools
from pathlib import Path

import pytest

from etcdops.node.raft import handlers
from etcdops.node.raft.handlers import BY_ROLE, HANDLERS, IGNORED
from etcdops.node.raft.roles import TRANSITIONS, Cause, diagram
from etcdops.node.raft.types import MessageType, Role
from etcdops.node.raft.validate import LOCAL, RESPONSES
from tests.node.raft.lone import Lone


@pytest.mark.parametrize(("role", "kind"), list(itertools.product(Role, MessageType)))
def test_every_role_handles_or_ignores_every_message(role: Role, kind: MessageType) -> None:
    """A pair is in exactly one of the two tables, and an ignored one has its reason."""
    assert ((role, kind) in HANDLERS) is not ((role, kind) in IGNORED)
    if (role, kind) in IGNORED:
        assert len(IGNORED[role, kind].split()) >= 3


def test_looking_up_by_role_finds_the_same_handlers() -> None:
    """The second table is the first one."""
    assert {(role, kind): function for role in Role for kind, function in BY_ROLE[role].items()} == dict(HANDLERS)


def test_handlers_say_what_they_do() -> None:
    """Every one of them has a docstring."""
    assert [function.__name__ for function in HANDLERS.values() if not inspect.getdoc(function)] == []


def test_every_role_can_be_left_and_reached() -> None:
    """No dead ends; and whoever hears of a higher term follows."""
    assert set(TRANSITIONS) == set(Role)
    reached = {after for causes in TRANSITIONS.values() for after in causes.values()}
    assert reached == set(Role)
    assert all(causes[Cause.HIGHER_TERM] is Role.FOLLOWER for causes in TRANSITIONS.values())
    assert {cause for causes in TRANSITIONS.values() for cause in causes} == set(Cause)


def test_only_a_candidate_becomes_a_leader() -> None:
    """Raft 5.2, figure 4."""
    assert [role for role, causes in TRANSITIONS.items() if Role.LEADER in causes.values()] == [Role.CANDIDATE]


def test_a_transition_outside_the_table_is_a_mistake_in_the_program() -> None:
    """A follower cannot become a leader, whatever some function wants."""
    with pytest.raises(AssertionError, match="invalid transition"):
        Lone().core._raft.become_leader()


def test_the_diagram_shows_every_transition() -> None:
    """Documents draw the table."""
    drawn = diagram()
    assert drawn.count("-->") == 1 + sum(map(len, TRANSITIONS.values()))
    assert "    candidate --> leader: has the votes of a quorum\n" in drawn


def test_the_design_document_shows_the_table_as_it_is() -> None:
    """A drawing that is made by hand would be wrong soon."""
    document = Path(handlers.__file__).with_name("DESIGN.md").read_text()
    assert f"```mermaid\n{diagram()}```" in document


def test_nothing_is_both_local_and_an_answer() -> None:
    """What comes from the network and what a member says to itself are kept apart."""
    assert not LOCAL & RESPONSES
