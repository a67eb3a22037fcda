"""What a filter writes, the program that reads the file takes for the value that went in."""

from __future__ import annotations

import configparser
import shlex
import subprocess

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from etcdops.errors import EtcdopsError, UsageError
from etcdops.rendering import escaping, render
from tests.remote.test_command import HOSTILE

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
LINES = tuple(text for text in HOSTILE if not set(text) & set("\n\t\x1b\x7f"))


def from_shell(line: str) -> str:
    """What `. file; printf %s "$A"` gives."""
    done = subprocess.run(["/bin/sh", "-c", f'{line}\nprintf %s "$A"'], capture_output=True, check=True, timeout=20)
    return done.stdout.decode()


@pytest.mark.parametrize("text", LINES)
def test_an_environment_file_means_the_value_to_a_shell(text: str) -> None:
    """Nothing is expanded, nothing is run."""
    assert from_shell(f"A={escaping.environment(text)}") == text


@given(TEXT)
def test_any_value_survives_an_environment_file(text: str) -> None:
    """By systemd's rules, written down once more: see its own parser in tests of real hosts."""
    written = str(escaping.environment(text))
    assert written[0] == written[-1] == '"'
    inside, read = iter(written[1:-1]), ""
    for character in inside:
        if character == "\\":
            following = next(inside)
            read += following if following in '"\\`$' else "\\" + following
        else:
            assert character not in '"`$'
            read += character
    assert read == text


@given(TEXT)
def test_any_value_survives_yaml(text: str) -> None:
    """YAML 1.1, as etcd and PyYAML read it."""
    assert pyyaml.safe_load(f"a: {escaping.yaml(text)}") == {"a": text}
    assert pyyaml.safe_load(escaping.yaml([text, 5, True])) == [text, 5, True]
    composed = str(escaping.compose(text))
    assert "$" not in composed.replace("$$", "")
    assert pyyaml.safe_load(composed.replace("$$", "$")) == text


@given(TEXT)
def test_any_value_survives_supervisord_or_is_refused(text: str) -> None:
    """Read back with the parser that supervisord uses, in the way it sets it up."""
    try:
        written = escaping.supervisord(text)
    except UsageError:
        assert any(f"{blank}{sign}" in text for blank in set(filter(str.isspace, text)) for sign in ";#")
        return
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    parser.read_string(f"[program:etcd]\ncommand=etcd {written}\n")
    assert shlex.split(parser["program:etcd"]["command"].replace("%%", "%"))[1:] == [text]


@given(TEXT)
def test_any_value_survives_a_line_of_cron(text: str) -> None:
    """cron takes `\\%` for a percent sign and gives the rest to the shell."""
    written = str(escaping.cron(text))
    assert "%" not in written.replace(r"\%", "")
    assert shlex.split(written.replace(r"\%", "%")) == [text]


def test_units_take_specifiers_and_variables_as_they_are() -> None:
    """`%n` and `$HOME` in a value are not systemd's."""
    assert escaping.unit_word('a "b" $HOME %n \\') == '"a \\"b\\" $$HOME %%n \\\\"'
    assert escaping.unit("/var/lib/50%/etcd") == "/var/lib/50%%/etcd"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, "a\nb")
            for name in ("env", "unit", "unit_word", "cron", "supervisord", "haproxy", "logrotate", "host", "word")
        ),
        ("sh", "a\0b"),
        ("unit", " a"),
        ("unit", "a\\"),
        ("supervisord", "a ;b"),
        ("logrotate", "/var/log/*"),
        ("host", "a b"),
        ("host", "a,b"),
        ("host", "-a"),
        ("network", "10.0.0.1/33"),
        ("network", "etcd-1"),
        ("number", "-1"),
        ("number", "1; flush ruleset"),
        ("number", True),
        ("word", "-x"),
        ("word", "a/b"),
        ("calendar", "daily\nUser=root"),
        ("cron_time", "* * * *"),
    ],
)
def test_what_a_format_cannot_express_is_an_error(name: str, value: object) -> None:
    """Naming the value and the place; never bent to fit."""
    with pytest.raises(UsageError, match="cannot be written in"):
        escaping.FILTERS[name](value)


def test_comments_stay_on_their_line() -> None:
    """Whatever a cluster is called."""
    assert escaping.comment("a\nb\\") == "a\\nb"


def test_a_template_prints_nothing_unescaped(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten filter, a name nobody gave, a template that is not there: errors, not files."""
    import jinja2

    environment = render._environment().overlay(
        loader=jinja2.DictLoader({"raw": "a={{ a }}", "good": "a={{ a | env }}", "const": "{{ 'x' }}", "bad": "{{"})
    )
    monkeypatch.setattr(render, "_environment", lambda: environment)
    assert render.render("good", a="$x") == 'a="\\$x"'
    for template, values, message in (
        ("raw", {"a": "x"}, "printed without a filter"),
        ("const", {}, "printed without a filter"),
        ("good", {}, "'a' is undefined"),
        ("bad", {}, "is wrong"),
        ("none", {}, "there is no template none"),
    ):
        with pytest.raises(EtcdopsError, match=message):
            render.render(template, **values)
