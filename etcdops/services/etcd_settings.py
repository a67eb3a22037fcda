"""What etcd makes of its command line, its environment and its config file.

A flag beats its variable; a config file beats both, all of them. Every setting keeps the place it was written at.
Source: etcd server/etcdmain/config.go (parse), pkg/flags/flag.go (SetFlagsFromEnv), server/embed/config.go
(configFromFile).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

from etcdops.rendering.config_file import DURATIONS, PLACES
from etcdops.rendering.flags import FLAGS, SWITCHES, variable
from etcdops.services.port import Origin, ProcessConfig, Setting

CONFIG_FILE = "config-file"
COMMAND_LINE = "command line"
ENVIRONMENT = "environment"
_PREFIX = "ETCD_"
_NOT_SETTINGS = frozenset({"ETCD_UNSUPPORTED_ARCH"})
_AT = {place: flag for flag, place in PLACES.items()}
_UNITS = (("s", 10**9), ("ms", 10**6), ("us", 10**3), ("ns", 1))


@dataclass(frozen=True, slots=True)
class Placed:
    """A word and where it stands."""

    text: str
    where: str


@dataclass(frozen=True, slots=True)
class Start:
    """How a member is started: everything but the content of its config file."""

    program: str
    arguments: Sequence[Placed]
    """After the program."""
    env: Mapping[str, Placed]
    user: str = ""
    folder: str = "/"
    """Where it is started: relative paths begin here."""
    notes: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    """Variables that the command line is made of and that nothing that was read sets: they are empty in it."""


@dataclass(slots=True)
class _Flags:
    """Flags as they are read, one source after the other."""

    found: dict[str, Setting] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def config_file(start: Start) -> Placed | None:
    """Path of the config file it would read."""
    flag = _from_arguments(start.arguments).found.get(CONFIG_FILE)
    if flag is not None and flag.value:
        return Placed(flag.value, flag.where)
    by_variable = start.env.get(variable(CONFIG_FILE))
    return by_variable if by_variable is not None and by_variable.text else None


def settle(start: Start, content: bytes | None) -> ProcessConfig:
    """The configuration that comes out of it.

    Args: content - of the config file, if `config_file` names one; None: it could not be read.
    """
    arguments, variables = _from_arguments(start.arguments), _from_environment(start.env)
    path = config_file(start)
    if path is None:
        flags = variables.found | arguments.found
        shadowed = [
            f"{setting.where}: {variable(name)}={setting.value}: the flag --{name} comes first"
            for name, setting in variables.found.items()
            if name in arguments.found and arguments.found[name].value != setting.value
        ]
        ignored = [*arguments.ignored, *variables.ignored, *shadowed]
    else:
        origin = Origin.FLAG if CONFIG_FILE in arguments.found else Origin.VARIABLE
        read = _from_config_file(content, path.text)
        flags = {CONFIG_FILE: Setting(path.text, origin, path.where), **read.found}
        ignored = [*read.ignored, *_replaced(arguments.found | variables.found, path.text)]
    return ProcessConfig(start.program, flags, start.user, (*start.notes, *ignored))


def _replaced(others: Mapping[str, Setting], path: str) -> Iterator[str]:
    for name, setting in others.items():
        if name != CONFIG_FILE:
            yield f"{setting.where}: {name}={setting.value}: the config file {path} replaces all flags and variables"


def _from_arguments(arguments: Sequence[Placed]) -> _Flags:
    """As Go's flag package reads them: one dash or two, `=` or the next word, nothing after the first other word."""
    read = _Flags()
    rest = iter(arguments)
    for argument in rest:
        text = argument.text
        if text == "--" or not text.startswith("-") or text == "-":
            left = " ".join([text, *(word.text for word in rest)])
            read.ignored.append(f"{argument.where}: {left}: no flag; etcd does not start with it")
            break
        name, equals, value = text.removeprefix("-").removeprefix("-").partition("=")
        if not equals:
            if name in SWITCHES:
                value = "true"
            else:
                following = next(rest, None)
                if following is None:
                    read.ignored.append(f"{argument.where}: {text}: its value is missing; etcd does not start with it")
                    break
                value = following.text
        read.found[name] = Setting(_value(name, value), Origin.FLAG, argument.where)
    return read


def _from_environment(env: Mapping[str, Placed]) -> _Flags:
    read = _Flags()
    for name, value in env.items():
        # A variable that is there and empty is not set, to etcd.
        if not name.startswith(_PREFIX) or name in _NOT_SETTINGS or not value.text:
            continue
        flag = name.removeprefix(_PREFIX).lower().replace("_", "-")
        if flag in FLAGS:
            read.found[flag] = Setting(_value(flag, value.text), Origin.VARIABLE, value.where)
        else:
            read.ignored.append(f"{value.where}: {name}: no version of etcd has a flag {flag}")
    return read


def _from_config_file(content: bytes | None, path: str) -> _Flags:
    read = _Flags()
    if content is None:
        read.ignored.append(f"{path}: cannot be read; etcd does not start without it")
        return read
    try:
        root = yaml.compose(content, yaml.SafeLoader)
    except yaml.YAMLError as error:
        read.ignored.append(f"{path}: no YAML; etcd does not start with it: {' '.join(str(error).split())}")
        return read
    for place, node in _entries(root, ()):
        name = _AT.get(place, place[0] if len(place) == 1 else "")
        where = f"{path}:{node.start_mark.line + 1}"
        if name in FLAGS:
            value = _yaml_value(node)
            read.found[name] = Setting(_duration(value) if name in DURATIONS else value, Origin.FILE, where)
        else:
            read.ignored.append(f"{where}: {'.'.join(place)}: no version of etcd has such a setting")
    return read


def _entries(node: yaml.Node | None, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.Node]]:
    """(the keys that lead to it, a value) for everything in the file, sections in sections included."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        inner = (*place, str(key.value))
        if isinstance(value, yaml.MappingNode):
            yield from _entries(value, inner)
        else:
            yield inner, value


def _duration(text: str) -> str:
    """As a flag has it: in the file it is a number of nanoseconds."""
    if not text.isdigit() or text == "0":
        return text
    number = int(text)
    unit, size = next((unit, size) for unit, size in _UNITS if number % size == 0)
    return f"{number // size}{unit}"


def _yaml_value(node: yaml.Node) -> str:
    """As it would stand on a command line."""
    if isinstance(node, yaml.SequenceNode):
        return ",".join(map(_yaml_value, node.value))
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return ""
    if node.tag == "tag:yaml.org,2002:bool":
        return "true" if node.value.lower() in ("true", "yes", "on", "y") else "false"
    return str(node.value)


def _value(name: str, value: str) -> str:
    """Switches in one spelling: Go takes 1, t, T, TRUE, true, True and their opposites."""
    if name in SWITCHES and value.lower() in ("1", "t", "true"):
        return "true"
    if name in SWITCHES and value.lower() in ("0", "f", "false"):
        return "false"
    return value
