"""What etcd's source can print, release by release, in the form each release prints it."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator

import pytest

from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.match import Matcher
from tests.diagnosis.cases import SAMPLES

RELEASES = ("2.0", "2.1", "2.2", "2.3", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7")
VALUES = {"d": "17", "x": "8a1f9d2c3b4e5f60", "q": '"m1"', "s": "9b2f9d2c3b4e5f61", "v": "x1", "t": "true"}
_VERB = re.compile(r"%[+#-]?[\d.]*([a-zA-Z])")


def messages(release: str) -> Iterator[tuple[str, str]]:
    """(cause, line) of everything `release` can print, as its loggers print it."""
    for message in tomllib.loads((SAMPLES / "messages.toml").read_text(encoding="utf-8"))["message"]:
        if _number(message["since"]) <= _number(release) <= _number(message["until"]):
            text = _VERB.sub(lambda verb: VALUES.get(verb[1], "1"), message["text"])
            for line in lines(text, message["kind"], release):
                yield message["cause"], line


def lines(text: str, kind: str, release: str) -> Iterator[str]:
    """The forms one message has in a release."""
    if kind == "zap":
        yield json.dumps({"level": "warn", "ts": "2024-05-02T10:00:00.000Z", "caller": "a/b.go:1", "msg": text})
        yield f"2024-05-02T10:00:00.000Z\twarn\ta/b.go:1\t{text}\t{{}}"
    elif release == "2.0":
        yield f"2015/03/02 10:00:00 {text}"
    else:
        yield f"2018-03-02 10:00:00.000000 W | etcdserver: {text}"
        yield f"Mar 02 10:00:00 m1 etcd[22]: {text}"


def _number(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in release.split("."))


@pytest.mark.parametrize("release", RELEASES)
def test_what_a_release_prints_about_a_cause_is_recognised(release: str) -> None:
    """Each line speaks for its cause, whatever its frame."""
    matcher = Matcher()
    wrong = [
        (cause, line)
        for cause, line in messages(release)
        if cause not in {r.sign for r in matcher.match(parse_line(line))}
    ]
    assert wrong == []


def test_each_release_has_messages() -> None:
    """The generator above makes lines for all of them."""
    assert all(len(list(messages(release))) > 10 for release in ("2.0", "3.0", "3.3", "3.4", "3.7"))
