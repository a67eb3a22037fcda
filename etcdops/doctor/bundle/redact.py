"""What is taken out of every line before somebody else may read it: whatever opens a door, and the values of keys.

Lines are looked at as text, whoever wrote them: etcd's logs, settings, errors of programs. Too much is taken rather
than too little. Where something stood is `***`, so that a reader sees that it was there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

GONE = "***"
_ALREADY = re.compile(r"\**\Z")

_WORDS = ("passw", "passphrase", "secret", "token", "key", "value", "authorization", "cookie", "credential")
"""A line without any of them has nothing that is called a secret; looking for these first is what makes it fast."""
_QUOTED = re.compile(
    # value:\"..., "password": "..., hashed_password:"...: behind any number of backslashes, as quoting nests
    r"(?P<name>password|passwd|passphrase|secret|token|private_?key|value|authorization|cookie|credentials?)"
    r'(?P<end>\\*"?\s*[:=]\s*)(?P<escapes>\\*)"',
    re.IGNORECASE,
)
_BARE = re.compile(
    # password=..., AWS_SECRET_ACCESS_KEY: ..., --token ...
    r"(?P<name>password|passwd|passphrase|secret(?:[_-]?(?:access)?[_-]?key)?|api[_-]?key|token)"
    r"(?P<end>\s*[=:]\s*|(?<=-password)\s+|(?<=-token)\s+|(?<=-secret)\s+)(?P<text>'[^']*'|\\*\"[^\"]*\"|[^\s\"'\\]+)",
    re.IGNORECASE,
)
_NAME_BEFORE = re.compile(r"[\w.-]*\Z")
_HARMLESS_NAMES = re.compile(
    # settings whose names sound like secrets and are none: what a cluster is told apart by, a kind of token, a path
    r"initial-?cluster-?token|(^|[\w-])auth-?token(-ttl)?$|(_|-)file$|(_|-)command$|variable-value$",
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(
    r'("variable-name\\*"\s*:\s*\\*"[^"]*(?:PASSWORD|SECRET|TOKEN|USER)[^"]*",\s*\\*"variable-value\\*"\s*:\s*\\*")[^"]*',
    re.IGNORECASE,
)
_PATTERNS: tuple[tuple[str, str, re.Pattern[str], str], ...] = (
    # what it is, what a line must hold for it, how it looks, what is left of it
    (
        "basic auth in a URL",
        "@",
        re.compile(r"(?<![a-z0-9+.-])([a-z][a-z0-9+.-]*://)[^/\s\"'@]+@", re.IGNORECASE),
        rf"\1{GONE}@",
    ),
    ("user and password", "-u", re.compile(r"((?:--user|\s-u)(?:=|\s+)\\*[\"']?[^\s:\"']+:)[^\s\"'\\]+"), rf"\1{GONE}"),
    ("user and password", "ETCDCTL_USER", re.compile(r"(ETCDCTL_USER=\\*[\"']?[^\s:\"']+:)[^\s\"'\\]+"), rf"\1{GONE}"),
    ("authorization", "B", re.compile(r"\b((?:Basic|Bearer)\s+)[A-Za-z0-9+/=._~-]{8,}"), rf"\1{GONE}"),
    ("token", "eyJ", re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), GONE),
    # Source: etcd server/auth/simple_token.go: sixteen letters, a dot, an index
    ("token", ".", re.compile(r"\b[a-zA-Z]{16}\.\d+\b"), GONE),
    ("password hash", "$2", re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"), GONE),
    ("secret key", "AGE-", re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]+"), GONE),
    ("secret key", "IA", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), GONE),
    ("secret key", "gh", re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"), GONE),
    ("discovery token", "discovery", re.compile(r"(https?://discovery\.etcd\.io/)[0-9a-f]{16,}"), rf"\1{GONE}"),
    ("variable", "variable-value", _SECRET_VARIABLE, rf"\1{GONE}"),
)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")
_KEY_LINES_MAX = 200
"""A key is over after that many lines, whatever they say."""
_NAME_MAX = 60


class Redactor:
    """Takes secrets out of one text after the other, and counts what it took. One text's lines come in order."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        """`known`: secrets in plain text, such as the password we log in with: taken out wherever they stand."""
        self._known = sorted({secret for secret in known if len(secret) >= 4}, key=len, reverse=True)
        self._key_lines = 0
        self.taken: Counter[str] = Counter()

    def begin(self) -> None:
        """Another text begins: a key that the last one was cut off in is over."""
        self._key_lines = 0

    def line(self, text: str) -> str:
        """One line without its secrets."""
        text = self._without_private_keys(text)
        for secret in self._known:
            if secret in text:
                self.taken["known secret"] += text.count(secret)
                text = text.replace(secret, GONE)
        for kind, hint, pattern, by in _PATTERNS:
            if hint in text:
                text, count = pattern.subn(by, text)
                if count:
                    self.taken[kind] += count
        lower = text.lower()
        return self._bare(self._quoted(text)) if any(word in lower for word in _WORDS) else text

    def text(self, text: str) -> str:
        """A whole document."""
        self.begin()
        return "\n".join(self.line(line) for line in text.split("\n"))

    def _without_private_keys(self, line: str) -> str:
        """They stand on lines of their own, or on one with `\\n` between: from BEGIN to END nothing is left."""
        kept: list[str] = []
        while line:
            if self._key_lines:
                end = _KEY_ENDS.search(line)
                if end is None:
                    self._key_lines = (self._key_lines + 1) % _KEY_LINES_MAX
                    return "".join(kept)
                self._key_lines, line = 0, line[end.end() :]
                continue
            begin = _KEY_BEGINS.search(line)
            if begin is None:
                kept.append(line)
                break
            kept += [line[: begin.start()], GONE]
            self.taken["private key"] += 1
            self._key_lines, line = 1, line[begin.end() :]
        return "".join(kept)

    def _quoted(self, text: str) -> str:
        """`name: "..."`: up to the quote with as many backslashes before it as the one it began with."""
        kept: list[str] = []
        at = 0
        while (found := _QUOTED.search(text, at)) is not None:
            begin, name = found.end(), _whole_name(found)
            if _HARMLESS_NAMES.search(name):
                kept.append(text[at:begin])
                at = begin
                continue
            closing = re.compile(rf'(?<!\\){re.escape(found["escapes"])}"').search(text, begin)
            end = closing.start() if closing is not None else len(text)
            kept.append(text[at:begin])
            kept.append(self._gone(name, text[begin:end]))
            at = end
        return "".join([*kept, text[at:]])

    def _bare(self, text: str) -> str:
        """`password=...` without quotes, and `--password ...`."""

        def take(found: re.Match[str]) -> str:
            name = _whole_name(found)
            if _HARMLESS_NAMES.search(name):
                return found[0]
            return f"{found['name']}{found['end']}{self._gone(name, found['text'])}"

        return _BARE.sub(take, text)

    def _gone(self, name: str, secret: str) -> str:
        if _ALREADY.match(secret):
            return secret
        self.taken[_kind(name)] += 1
        return GONE


def _whole_name(found: re.Match[str]) -> str:
    """With what stands before the word: `initial-cluster-token`."""
    before = _NAME_BEFORE.search(found.string, max(0, found.start() - _NAME_MAX), found.start())
    return (before[0] if before is not None else "") + found["name"]


def _kind(name: str) -> str:
    lower = name.lower()
    kinds = ("password", "passphrase", "secret", "token", "key", "value", "authorization", "cookie")
    found = next((kind for kind in kinds if kind in lower), "password")
    return {"key": "private key", "value": "value of a key"}.get(found, found)
