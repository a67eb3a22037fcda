"""What a release of etcd can print and an earlier one could not, and what each line would be taken for.

`python -m tests.diagnosis.words REPOSITORY TAG [EARLIER]`, REPOSITORY being a clone of etcd, raft or bbolt. Without an
earlier tag all of it is shown. DESIGN.md of etcdops/diagnosis tells what to do with the answer.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from etcdops.diagnosis.frame import parse_line
from etcdops.diagnosis.match import Matcher

_LEFT_OUT = re.compile(r"_test\.go$|\.pb(\.gw)?\.go$|(^|/)(tests?|testdata|tools|contrib|hack|scripts|examples?|cmd)/")
_CALL = re.compile(
    r"\b(?:(?P<logger>plog|lg|log|[lL]ogger|Logger\(\)|Lg)\.(?P<level>Warn|Error|Fatal|Panic|DPanic|Critical|Print)\w*"
    r"|(?P<error>panic|errors\.New|fmt\.Errorf|status\.Errorf?|status\.New))\("
)
_FUNCTION = re.compile(r"^func (?:\([^)]*\) )?(\w+)", re.MULTILINE)
_STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_VERB = re.compile(r"%[+#-]?[\d.]*([a-zA-Z])")
_VALUES = {"d": "17", "x": "8a1f9d2c3b4e5f60", "q": '"m1"', "t": "true"}
_CALL_LENGTH_MAX = 400


class Words(NamedTuple):
    """The constant text of one log call or error, and the function it stands in."""

    text: str
    level: str
    place: str


def words_of(source: str, path: str) -> Iterator[Words]:
    """Calls of loggers from warnings up, panics and errors of one Go file, with the first text each has."""
    starts = [(found.start(), found[1]) for found in _FUNCTION.finditer(source)]
    for call in _CALL.finditer(source):
        text = _STRING.search(source, call.end(), call.end() + _CALL_LENGTH_MAX)
        if text and text[1] and "\n\n" not in source[call.end() : text.start()]:
            function = next((name for at, name in reversed(starts) if at < call.start()), "")
            yield Words(text[1].replace('\\"', '"'), call["level"] or "Error", f"{path}, {function}")


def words(repository: Path, tag: str) -> dict[str, Words]:
    """All of a release, by text. Raises: subprocess.CalledProcessError - there is no such tag."""

    def git(*arguments: str) -> str:
        told = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=True, timeout=60)
        return told.stdout.decode(errors="replace")

    found: dict[str, Words] = {}
    for path in git("ls-tree", "-r", "--name-only", tag).splitlines():
        if path.endswith(".go") and not _LEFT_OUT.search(path):
            found.update((each.text, each) for each in words_of(git("show", f"{tag}:{path}"), path))
    return found


def taken_for(each: Words, matcher: Matcher) -> list[str]:
    """The causes and facts whose rules match the message as zap writes it, alone or as the error of another."""
    text = _VERB.sub(lambda verb: _VALUES.get(verb[1], "x1"), each.text)
    lines = [{"level": each.level.lower(), "msg": text}, {"level": "warn", "msg": "something failed", "error": text}]
    return sorted({rule.sign for line in lines for rule in matcher.match(parse_line(json.dumps(line)))})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", type=Path)
    parser.add_argument("tag")
    parser.add_argument("earlier", nargs="?")
    arguments = parser.parse_args()
    known = words(arguments.repository, arguments.earlier) if arguments.earlier else {}
    matcher = Matcher()
    for text, each in sorted(words(arguments.repository, arguments.tag).items(), key=lambda item: item[1].place):
        if text not in known:
            print(f"{','.join(taken_for(each, matcher)) or '-':30} {each.level:7} {each.place}: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
