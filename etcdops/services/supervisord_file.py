"""supervisord's files: the programs they define.

Source: supervisor/options.py (ServerOptions.processes_from_section, expand), supervisor/datatypes.py
(dict_of_key_value_pairs); supervisord.org, configuration.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from etcdops.services.etcd_settings import Placed

CONFIG_FILES = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
CONFIG_FOLDERS = (("/etc/supervisor/conf.d", "*.conf"), ("/etc/supervisord.d", "*.ini"))
_SECTION = "program:"
_EXPANSION = re.compile(r"%(?:\((\w+)\)[sd]|%)")


@dataclass(frozen=True, slots=True)
class Program:
    """One `[program:NAME]`."""

    name: str
    argv: tuple[Placed, ...]
    env: Mapping[str, Placed]
    user: str
    folder: str
    log: str
    """Where its output goes; empty: where supervisord decides."""
    autostart: bool


def programs(text: str, path: str) -> list[Program]:
    """Those that one file defines. Raises: ValueError - it cannot be understood; says where."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    lines = _Lines(text, path)
    return [
        _program(section.removeprefix(_SECTION), dict(parser.items(section)), path, lines.of(section))
        for section in parser.sections()
        if section.startswith(_SECTION)
    ]


def _program(name: str, items: Mapping[str, str], path: str, lines: Mapping[str, str]) -> Program:
    values = {"program_name": name, "group_name": name, "here": path.rpartition("/")[0], "process_num": "0"}
    told = {key: _expanded(value, values) for key, value in items.items()}
    log = told.get("stdout_logfile", "")
    place = lines.get("command", path)
    return Program(
        name=name,
        argv=tuple(Placed(word, place) for word in _split(told.get("command", ""), place)),
        env={
            key: Placed(value, lines.get("environment", path))
            for key, value in _pairs(told.get("environment", ""), path).items()
        },
        user=told.get("user", ""),
        folder=told.get("directory", "/"),
        log="" if log.upper() in ("AUTO", "NONE", "SYSLOG") else log,
        autostart=told.get("autostart", "true").lower() in ("true", "1", "on", "yes"),
    )


def _expanded(value: str, values: Mapping[str, str]) -> str:
    """`%(here)s` and the like; a doubled percent sign is one. What is not known stays as it is."""
    return _EXPANSION.sub(lambda match: "%" if match[1] is None else values.get(match[1], match[0]), value)


def _split(text: str, where: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _pairs(text: str, path: str) -> dict[str, str]:
    """`KEY="value",OTHER=value`, also over several lines."""
    lexer = shlex.shlex(text, posix=True)
    lexer.wordchars += "/.+-():"
    found: dict[str, str] = {}
    try:
        tokens = list(lexer)
    except ValueError as error:
        raise ValueError(f"{path}: environment: {error}") from error
    while tokens:
        key, equals, value, *tokens = [*tokens, "", ""][: max(len(tokens), 3)]
        if equals != "=":
            raise ValueError(f"{path}: environment: {key!r} has no value")
        found[key] = value
        if tokens and tokens[0] == ",":
            tokens = tokens[1:]
    return found


class _Lines:
    """Line numbers of keys, which the parser does not keep."""

    def __init__(self, text: str, path: str) -> None:
        self._found: dict[str, dict[str, str]] = {}
        section = ""
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("["):
                section = line.partition("]")[0].removeprefix("[")
            elif line[:1].strip() and (match := re.match(r"([^=:;#]+?)\s*[=:]", line)):
                self._found.setdefault(section, {})[match[1].lower()] = f"{path}:{number}"

    def of(self, section: str) -> Mapping[str, str]:
        return self._found.get(section, {})
