"""A member's config file: YAML whose keys are flag names.

etcd reads over keys it does not know; here they are an error, because a mistyped key is a setting lost.
Source: etcd server/embed/config.go, configYAML.configFromFile.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from etcdops.errors import StartRefused
from etcdops.node.config.known_flags import FILE_SECTIONS
from etcdops.node.config.settings import flags_by_field
from etcdops.node.config.sources import FLAGS, Settings, nearest

_FILE_ONLY = {spelling: flag.name for flag in flags_by_field().values() for spelling in flag.file_only}
_LIBYAML_FREE = yaml.SafeLoader  # the pure loader: its marks are the same on every machine


def read_config_file(path: str) -> Settings:
    """What the file at `path` sets.

    Raises: StartRefused naming file, line and key - unreadable, no YAML, an unknown or repeated key, a wrong value.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise StartRefused(
            f"cannot read the config file {path}: {reason}", hint="check --config-file and ETCD_CONFIG_FILE"
        ) from error
    settings = Settings()
    for key, value, line in _entries(path, text):
        where = f"{path}:{line}: {key}"
        if key in FILE_SECTIONS:
            _read_section(settings, key, value, where)
        elif key == "socket-options":
            settings.without_effect.append(key)
        else:
            _read_key(settings, key, value, where)
    return settings


def _entries(path: str, text: str) -> Iterator[tuple[str, object, int]]:
    """Top-level keys with their values and line numbers, repeated keys refused."""
    loader = _LIBYAML_FREE(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return
        if not isinstance(root, yaml.MappingNode):
            raise StartRefused(f"{path}: want `flag-name: value` lines", hint="see --help for the names")
        seen: dict[str, int] = {}
        for key_node, value_node in root.value:
            key, line = str(loader.construct_object(key_node, deep=True)), key_node.start_mark.line + 1
            if key in seen:
                raise StartRefused(
                    f"{path}:{line}: {key} is already set in line {seen[key]}", hint="keep one of the two lines"
                )
            seen[key] = line
            yield key, loader.construct_object(value_node, deep=True), line
    except yaml.YAMLError as error:
        raise StartRefused(f"{path} is not YAML: {_yaml_problem(error)}", hint="mend the file") from error
    finally:
        loader.dispose()


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return str(error)


def _read_key(settings: Settings, key: str, value: object, where: str) -> None:
    spelling = _FILE_ONLY.get(key, key)
    flag = FLAGS.get(spelling)
    if flag is None or spelling == "config-file":
        close = nearest(key, [*FLAGS, *FILE_SECTIONS, *_FILE_ONLY])
        raise StartRefused(
            f"{where}: unknown setting", hint=f"did you mean {close}?" if close else "see --help for the names"
        )
    if value is None:
        return  # `key:` without a value leaves the default, as in etcd
    try:
        settings.put(spelling, flag.kind.from_yaml(value))
    except ValueError as error:
        raise StartRefused(f"{where}: {error}", hint=f"--{spelling} takes {flag.kind.takes}") from error


def _read_section(settings: Settings, section: str, value: object, where: str) -> None:
    if value is None:
        return
    if not isinstance(value, dict):
        raise StartRefused(f"{where}: want settings indented below it", hint="for example cert-file: PATH")
    flags = FILE_SECTIONS[section]
    for key, item in value.items():
        if key not in flags:
            close = nearest(str(key), flags)
            raise StartRefused(
                f"{where}.{key}: unknown setting",
                hint=f"did you mean {close}?" if close else f"one of {', '.join(flags)}",
            )
        if item is None or not flags[key]:
            continue
        flag = FLAGS[flags[key]]
        try:
            settings.put(flag.name, flag.kind.from_yaml(item))
        except ValueError as error:
            raise StartRefused(f"{where}.{key}: {error}", hint=f"{key} takes {flag.kind.takes}") from error
