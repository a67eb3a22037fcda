"""Tests name the statements they execute, and take from the tables what a server is known to do otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from tests.differential.client import Client
from tests.differential.differences import DIFFERENCES, NOT_RUN
from tests.differential.statements import STATEMENTS
from tests.support.real_etcd import RealCluster

EXECUTED: dict[str, list[str]] = {}
"""Statement -> the tests that execute it, of the modules imported so far."""

Test = TypeVar("Test", bound=Callable[..., object])


def executes(*statements: str) -> Callable[[Test], Test]:
    """Marks a test with the statements it executes."""

    def mark(test: Test) -> Test:
        for statement in statements:
            assert statement in STATEMENTS, f"{statement} is not in the checklist"
            EXECUTED.setdefault(statement, []).append(f"{test.__module__}.{test.__name__}")
        return test

    return mark


@dataclass(frozen=True)
class Server:
    """One server under test: `name` is "etcd-3.4", "etcd-3.5" or "node"."""

    name: str
    cluster: RealCluster
    clients: tuple[Client, ...]

    @property
    def client(self) -> Client:
        """Of the first member."""
        return self.clients[0]

    def check(self, statement: str, found: object, expected: object) -> None:
        """What the statement says, or what the table of differences says about this server instead.

        `statement` may name an aspect after a dot, where only one of several of its answers differs.
        """
        title = STATEMENTS[statement.split(".")[0]]
        known = DIFFERENCES.get((statement, self.name))
        if known is None:
            assert found == expected, f"{statement} ({title}) on {self.name}: {found!r}, not {expected!r}"
        else:
            assert expected != known.answer, f"{statement} does not differ on {self.name}: the table is wrong"
            assert found == known.answer, f"{statement} ({title}) on {self.name}: {found!r}, although {known.reason}"

    def runs(self, *statements: str) -> None:
        """Skip the rest of the test where one of these cannot be asked of this server."""
        for statement in statements:
            if (statement, self.name) in NOT_RUN:
                pytest.skip(f"{statement} on {self.name}: {NOT_RUN[statement, self.name]}")

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.cluster.kill()
