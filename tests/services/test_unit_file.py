"""systemd's files, read by our reader; tests/services/test_systemd.py compares it with systemd itself."""

from __future__ import annotations

import pytest

from etcdops.services.etcd_settings import Placed
from etcdops.services.unit_file import (
    effective,
    expand_specifiers,
    expand_variables,
    last,
    parse_environment_file,
    parse_unit,
    specifiers,
    split_words,
    strip_prefixes,
)

UNIT = r"""
# a comment
[Service]
User = etcd
ExecStart=/bin/first
ExecStart=
ExecStart=-/usr/bin/etcd --name=m1 \
; a comment in between
   --data-dir "/var/lib/my etcd" \
   --max-wals \
   7
Environment="A=b c" 'D=e'
Environment=F=g\x20h
"""


def words(text: str) -> list[str]:
    return [word.text for word in split_words([Placed(text, "u:1")])]


def test_a_unit_is_read_with_its_continuations_and_resets() -> None:
    """An empty assignment takes back those before it; words know their line."""
    read = parse_unit(UNIT, "/u")
    assert last(read, "Service", "User") == "etcd"
    (start,) = effective(read, "Service", "ExecStart")
    assert split_words(start.lines) == [
        Placed("-/usr/bin/etcd", "/u:7"),
        Placed("--name=m1", "/u:7"),
        Placed("--data-dir", "/u:9"),
        Placed("/var/lib/my etcd", "/u:9"),
        Placed("--max-wals", "/u:10"),
        Placed("7", "/u:11"),
    ]
    assert strip_prefixes("-/usr/bin/etcd") == "/usr/bin/etcd"
    environment = [word.text for one in effective(read, "Service", "Environment") for word in split_words(one.lines)]
    assert environment == ["A=b c", "D=e", "F=g h"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"""a "b c" 'd "e"' f""", ["a", "b c", 'd "e"', "f"]),
        (r'--x="a \"b\" \\c" \s', ['--x=a "b" \\c', " "]),
        (r"\x41\102\u00e9\q", ["AB\xe9\\q"]),
        ('"" x', ["", "x"]),
    ],
)
def test_words_are_split_and_unquoted(text: str, expected: list[str]) -> None:
    """man systemd.syntax, QUOTING."""
    assert words(text) == expected


def test_variables_and_specifiers_are_expanded() -> None:
    """`$NAME` alone becomes many words, `${NAME}` none more; `%%` and `$$` are themselves."""
    env = {"ARGS": Placed("--a  '--b c'", "env:3"), "X": Placed("x y", "env:4")}
    asked = split_words([Placed("etcd $ARGS --x=${X} --y=$X $$HOME $NONE ${NONE}", "u:1")])
    assert [(word.text, word.where) for word in expand_variables(asked, env)] == [
        ("etcd", "u:1"), ("--a", "env:3"), ("--b c", "env:3"), ("--x=x y", "u:1"), ("--y=$X", "u:1"),
        ("$HOME", "u:1"), ("", "u:1"),
    ]  # fmt: skip
    assert expand_specifiers("%p-%i at %H 100%% %?", specifiers("etcd@m1.service", "h1")) == "etcd-m1 at h1 100% %?"


ENVIRONMENT = """\
# comment
; another
PLAIN = a b\t
SINGLE='a "b" \\ $c'
DOUBLE="a \\"b\\" \\$c \\x"
MIXED='a'"b" c'd
LINES="one
two"
CONTINUED=a\\
b
ESCAPED=a\\ \\"b
no assignment
EMPTY=
"""


def test_an_environment_file_is_read_as_systemd_does() -> None:
    """Source: src/basic/env-file.c, parse_env_file_internal."""
    read = parse_environment_file(ENVIRONMENT, "/e")
    assert {name: value.text for name, value in read.items()} == {
        "PLAIN": "a b",
        "SINGLE": 'a "b" \\ $c',
        "DOUBLE": 'a "b" $c \\x',
        "MIXED": "abc'd",
        "LINES": "one\ntwo",
        "CONTINUED": "ab",
        "ESCAPED": 'a "b',
        "EMPTY": "",
    }
    assert read["CONTINUED"].where == "/e:9"
