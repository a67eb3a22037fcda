"""Addresses and names of machines and members, and what stands for them: the same everywhere in one archive.

First all texts are learned from, then all are rewritten: a name that a log mentions on its last line is replaced on its
first one too. Loopback and "all addresses" stay: they are findings, and tell nothing of anybody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_V4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_V6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]+(?:\.\d+){0,3}(?:%\w+)?(?![\w:])")
_NAME = r"([A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)"
_LEARNED = tuple(
    (hint, re.compile(pattern))
    for hint, pattern in (
        # what a line must hold for it, and how the name stands there
        ("://", rf"https?://(?:[^/\s\"'@]+@)?{_NAME}(?=[:/\"',\s\\\]]|$)"),
        ("lookup ", rf"\blookup {_NAME}"),
        ("=http", rf"(?<![\w.-]){_NAME}=https?://"),
        ("n", rf"\"(?:name|local-member-name|member-name|remote-peer-name|hostname|host)\\*\"\s*:\s*\\*\"{_NAME}"),
        ("Name:", rf"\bName:{_NAME}"),
        ("--name", rf"--name[= ]{_NAME}"),
        # what the journal and syslog put before a line
        ("]: ", rf"^(?:\d{{4}}-\d\d-\d\dT\S+|[A-Z][a-z]{{2}} +\d+ \d\d:\d\d:\d\d) {_NAME} [\w@.-]+\[\d+\]:"),
        ("x509", rf"certificate is valid for {_NAME}"),
        (":", rf"(?<![\w./-]){_NAME}:\d{{4,5}}\b"),
    )
)
_WORDS = frozenset(
    {
        "client", "cluster", "default", "etcd", "etcdops", "example", "false", "host", "info", "leader", "learner",
        "local", "localhost", "main", "master", "member", "name", "new", "node", "none", "null", "peer", "raft", "root",
        "self", "server", "test", "true", "unknown",
    }
)  # fmt: skip
"""As names of members and hosts they tell nothing, as words they stand in every second line."""
_FILES = (
    ".go",
    ".c",
    ".py",
    ".log",
    ".service",
    ".yaml",
    ".yml",
    ".conf",
    ".toml",
    ".db",
    ".snap",
    ".wal",
    ".crt",
    ".pem",
)


class Names:
    """What stands for what. Learn from every text first, then rewrite them."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known`: names of hosts and members, as an inventory and a member list have them."""
        self._stands: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None
        for name in known:
            self._add(name)

    @property
    def stands_for(self) -> dict[str, str]:
        """What stands in the archive -> what it was. For who made it, never for the archive."""
        return {fake: real for real, fake in self._stands.items()}

    def learn(self, line: str) -> None:
        """Take in the addresses and names of a line."""
        for pattern in (_V4, _V6):
            for found in pattern.finditer(line):
                self._add(found[0])
        for hint, learned in _LEARNED:
            if hint in line:
                for found in learned.finditer(line):
                    self._add(found[1])

    def line(self, text: str) -> str:
        """The line with what stands for them."""
        if self._pattern is None:
            longest = sorted(self._stands, key=len, reverse=True)
            names = "|".join(re.escape(name) for name in longest)
            self._pattern = (
                re.compile(rf"(?<![A-Za-z0-9_-])(?:{names})(?![A-Za-z0-9_-]|\.\d)") if names else re.compile(r"(?!)")
            )
        return self._pattern.sub(lambda found: self._stands[found[0]], text)

    def text(self, text: str) -> str:
        return "\n".join(self.line(line) for line in text.split("\n"))

    def _add(self, name: str) -> None:
        if name in self._stands:
            return
        kind = _kind(name)
        if kind:
            count = sum(fake.startswith(f"{kind}-") for fake in self._stands.values())
            self._stands[name] = f"{kind}-{count + 1}"
            self._pattern = None


def _kind(name: str) -> str:
    """`ip`, `name`; empty: it tells nothing of anybody."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        usual = name.lower() in _WORDS or name.lower().endswith(_FILES) or name.isdigit() or len(name) < 2
        return "" if usual or re.fullmatch(r"v?\d+(\.\d+)*", name) else "name"
    return "" if address.is_loopback or address.is_unspecified else "ip"
