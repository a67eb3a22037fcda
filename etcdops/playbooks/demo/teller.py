"""Whom the story is told to. The command line prints it; a test listens."""

from __future__ import annotations

from typing import Protocol

from etcdops.client.view import ClusterView
from etcdops.playbooks.plan import Plan
from etcdops.playbooks.run_event import RunEvent


class Teller(Protocol):
    """Takes the story line by line."""

    def chapter(self, number: int, title: str) -> None:
        """A new part of the story, from 1."""

    def say(self, text: str) -> None:
        """Something happened; nothing is claimed."""

    def checked(self, text: str) -> None:
        """A claim that was just proved."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """How far a long part is; called often."""

    def waiting(self, text: str) -> None:
        """What is waited for now; the next line says how it ended."""

    def members(self, view: ClusterView) -> None:
        """The members as a table."""

    def status(self, view: ClusterView) -> None:
        """What `etcdops status` says."""

    def plan(self, plan: Plan) -> None:
        """A plan before it runs."""

    def step(self, event: RunEvent) -> None:
        """A step of the running plan."""
