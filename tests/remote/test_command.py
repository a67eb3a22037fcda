"""Commands reach a program exactly as they were given, and never show a secret."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcdops.errors import UsageError
from etcdops.remote.command import Command, command, script, shell_line
from etcdops.secret import Secret

HOSTILE = (
    "",
    " ",
    "a b",
    "'",
    '"',
    "$(touch pwned)",
    "`touch pwned`",
    "$HOME",
    "a\nb",
    "\n",
    "-rf",
    "--",
    "*",
    "~",
    "a;touch pwned",
    "&& touch pwned",
    "\\",
    "\\'",
    "!!",
    "{a,b}",
    "#x",
    "ключ/键",
    "\x1b[31m",
    "\t",
    "\x7f",
)


def ran(line: str, cwd: Path) -> list[bytes]:
    """What the shell gave the program, argument by argument."""
    done = subprocess.run(["/bin/sh", "-c", line], capture_output=True, cwd=cwd, check=True, timeout=20)
    return done.stdout.split(b"\0")[:-1]


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_hostile_arguments_arrive_as_they_are(tmp_path: Path, shell: str) -> None:
    """Nothing in a host, path or key name means anything to the shell between here and there."""
    line = shell_line(("printf", r"%s\0", *HOSTILE))
    done = subprocess.run([shell, "-c", line], capture_output=True, cwd=tmp_path, check=True, timeout=20)
    assert done.stdout.split(b"\0")[:-1] == [text.encode() for text in HOSTILE]
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), max_size=4))
def test_any_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    """The same for whatever hypothesis thinks of."""
    assert ran(shell_line(("printf", r"%s\0", "first", *arguments)), Path("/")) == [
        text.encode() for text in ("first", *arguments)
    ]


def test_variables_and_folders_are_quoted_too(tmp_path: Path) -> None:
    """A value or a folder with a quote in it changes nothing but itself."""
    odd = tmp_path / "-o $(touch pwned) 'x'"
    odd.mkdir()
    line = shell_line(("sh", "-c", r'printf "%s\0%s\0" "$A" "$PWD"'), env={"A": "1 $(touch pwned)\n'"}, cwd=str(odd))
    assert ran(line, tmp_path) == [b"1 $(touch pwned)\n'", os.fsencode(odd)]
    assert ran(shell_line(("sh", "-c", r'printf "%s\0" "$PWD"'), cwd=odd.name), tmp_path) == [os.fsencode(odd)]
    assert list(odd.iterdir()) == []


def test_a_script_gets_its_values_as_arguments(tmp_path: Path) -> None:
    """The text of a script is constant; what varies cannot become part of it."""
    made = script(r'printf "%s\0%s\0" "$1" "$2"', '"; touch pwned; "', "$(touch pwned)")
    assert ran(shell_line(made.argv), tmp_path) == [b'"; touch pwned; "', b"$(touch pwned)"]
    assert list(tmp_path.iterdir()) == []


def test_a_command_shows_no_secret() -> None:
    """Errors and journals print commands, and what they said."""
    made = command("mysudo", "--password", Secret("hunter2"), "x y", env={"TOKEN": Secret("hunter22")})
    assert str(made) == "TOKEN=*** mysudo --password *** 'x y'"
    assert "hunter" not in repr(made)
    assert made.masked("said hunter22 and hunter2") == "said *** and ***"
    assert "hunter2" in shell_line(made.argv)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Command(()),
        lambda: Command(("",)),
        lambda: command("a", "b\0c"),
        lambda: command("a", env={"A=B": "c"}),
        lambda: command("a", env={"A": "\0"}),
        lambda: command("a", cwd="\0"),
    ],
)
def test_what_no_program_can_be_given_is_refused(wrong: object) -> None:
    """Before it reaches any host."""
    with pytest.raises(UsageError):
        wrong()  # type: ignore[operator]  # each of them is a function
