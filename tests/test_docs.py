"""Documents are checked like code: what they name exists, and what they tell to type is understood."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from etcdops.cli.main import ENTRIES, root
from etcdops.node.config import load_config

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "etcdops").rglob("DESIGN.md"))]

_PATH = re.compile(
    r"(?<![\w./<>*~-])((?:\.?[\w-]+/)*\.?[\w-]+\.(?:py|md|proto|toml|svg|lock|tcss)|(?:\.?[\w-]+/)+)(?![\w<*{]|\.\w)"
)
_CODE = re.compile(r"`([^`\n]+)`|^(?: {4}|```)(.*)$", re.MULTILINE)
_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MADE_ELSEWHERE = {".venv/", ".cache/etcd/", "member/wal/"}
"""Made by a command, or in somebody's data directory."""


def document_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def named_paths(text: str) -> set[str]:
    """What looks like a file or folder of the project, in code and in indented or fenced blocks."""
    found: set[str] = set()
    for piece in [*(one or two for one, two in _CODE.findall(text)), *(block for _, block in _FENCED.findall(text))]:
        if "://" not in piece and "$" not in piece:
            found.update(_PATH.findall(piece))
    return found - _MADE_ELSEWHERE


def exists(name: str, document: Path) -> bool:
    """Names are relative to the document's folder or one in it, its tests, the project, the package or the node."""
    folder = document.parent
    tests = ROOT / "tests" / folder.relative_to(ROOT).relative_to("etcdops") if folder != ROOT else ROOT / "tests"
    bases = [folder, tests, ROOT, ROOT / "etcdops", ROOT / "etcdops" / "node", *sorted(folder.glob("*/"))]
    return any((base / name).exists() for base in bases)


@pytest.mark.parametrize("document", DOCUMENTS, ids=document_id)
def test_every_path_a_document_names_exists(document: Path) -> None:
    """A renamed file must be renamed in the documents too."""
    missing = sorted(path for path in named_paths(document.read_text()) if not exists(path, document))
    assert missing == []


def test_a_path_that_does_not_exist_is_found() -> None:
    """The check above can fail: for a file, a folder and an entry of a map."""
    text = "see `node/nowhere.py` and `absent/`\n\n    gone.py   what it was\n"
    assert named_paths(text) == {"node/nowhere.py", "absent/", "gone.py"}
    assert not any(exists(path, README) for path in named_paths(text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=document_id)
def test_no_document_cites_line_numbers(document: Path) -> None:
    """Lines move; `file, function` does not."""
    assert re.findall(r"\S+\.(?:go|py|proto):\d+", document.read_text()) == []


def shell_lines() -> Iterator[str]:
    """Every command line of the README's shell blocks, continued lines joined, without its comment."""
    for language, block in _FENCED.findall(README.read_text()):
        if language == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    yield shlex.join(words)


def commands(program: str) -> list[list[str]]:
    """The arguments of each call of `program` in the README."""
    return [arguments for line in shell_lines() for arguments in calls(line, program)]


def calls(line: str, program: str) -> list[list[str]]:
    """The arguments of each call of `program` in a line of shell: up to whatever takes its output."""
    found = []
    words = shlex.split(line.replace(";", " ; "))
    for number, word in enumerate(words):
        if Path(word).name == program and (number == 0 or words[number - 1] in ("|", "&&", ";")):
            ends = [at for at, one in enumerate(words) if at > number and one in ("|", "&&", "||", "&", ">", ";")]
            found.append(words[number + 1 : min(ends, default=len(words))])
    return found


def parse(arguments: list[str]) -> None:
    """Take a command line as far as its command's function. Raises: what click or the node says to a wrong one."""
    if arguments[:1] == ["node"]:
        known = {"$CLUSTER": "m1=http://127.0.0.1:2380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380"}
        load_config([known.get(word, word) for word in arguments[1:]], {})
        return
    command: click.Command = root
    name, context = "etcdops", None
    while True:
        try:
            context = command.make_context(name, list(arguments), parent=context)
        except click.exceptions.Exit:
            return  # --help or --version
        if not isinstance(command, click.Group):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        found, resolved, arguments = command.resolve_command(context, rest)
        assert resolved is not None
        name, command = found or name, resolved


@pytest.mark.parametrize("arguments", commands("etcdops"), ids=" ".join)
def test_every_command_in_the_readme_is_understood(arguments: list[str]) -> None:
    """Commands, flags and the kinds of their values."""
    parse(arguments)


def examples() -> Iterator[tuple[str, str]]:
    """(command, line) of every example of etcdops in a `--help`."""
    context = click.Context(root)
    waiting: list[tuple[str, click.Command]] = [("etcdops", root)]
    while waiting:
        name, command = waiting.pop()
        yield from ((name, line) for _, line in getattr(command, "examples", ()) if "etcdops " in line)
        if isinstance(command, click.Group):
            inner = ((one, command.get_command(context, one)) for one in command.list_commands(context))
            waiting += [(f"{name} {one}", found) for one, found in inner if found is not None]


@pytest.mark.parametrize(("command", "line"), [*examples()])
def test_every_example_in_a_help_is_understood(command: str, line: str) -> None:
    """Whoever copies it gets further than the usage."""
    assert calls(line, "etcdops"), command
    for arguments in calls(line, "etcdops"):
        parse(arguments)


def test_the_readme_names_every_design() -> None:
    """Its list is the way into the packages."""
    text = README.read_text()
    assert [path for path in DOCUMENTS if path.name == "DESIGN.md" and document_id(path) not in text] == []


def test_links_within_the_readme_lead_to_a_heading() -> None:
    """Source: GitHub's anchors, lower case, blanks as hyphens."""
    text = README.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors == set()


@pytest.mark.parametrize(
    "arguments", [["status", "--hash-all"], ["snapshot", "sav", "x"], ["tui", "--screen", "moon"], ["node", "--nmae=x"]]
)
def test_a_command_that_is_wrong_is_not_understood(arguments: list[str]) -> None:
    """The check above can fail."""
    with pytest.raises(Exception, match=r"(?i)no such|invalid|not one of|no command|not defined"):
        parse(arguments)


def test_the_readme_shows_every_command() -> None:
    """Someone who read it has met them all."""
    shown = {word for arguments in commands("etcdops") for word in arguments} | {"demo"}
    assert "make demo" in README.read_text()
    text = README.read_text()
    assert [entry.name for entry in ENTRIES if entry.name not in shown and f"etcdops {entry.name}" not in text] == []


def test_the_readme_names_targets_of_the_makefile() -> None:
    """`make X` in shell blocks and in code."""
    text = README.read_text()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {arguments[0] for arguments in commands("make")} | set(re.findall(r"`make ([a-z-]+)", text))
    assert named
    assert named - targets == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=document_id)
def test_modules_that_documents_run_exist(document: Path) -> None:
    """`python -m tests.bench.x`."""
    modules = re.findall(r"python -m ([\w.]+)", document.read_text())
    assert [module for module in modules if importlib.util.find_spec(module) is None] == []
