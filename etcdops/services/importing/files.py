"""Files of members, whatever they are, to evidence. What each is, its text says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePath

import yaml

from etcdops.errors import UsageError
from etcdops.services.importing.commands import Given, commanded, is_command, of_start
from etcdops.services.importing.evidence import Evidence, of_written
from etcdops.services.importing.pods import composed, inspected, static_pod
from etcdops.services.written_config import read_written

_SECTION = re.compile(r"^\s*\[Service\]\s*$", re.MULTILINE)


async def read_files(texts: Mapping[str, str]) -> list[Evidence]:
    """The members that files describe, by path -> text.

    Units, environment files and config files together describe one member; every compose file, static pod, output of
    `docker inspect` and script that makes containers describes members of its own.

    Raises: UsageError - they describe none, or contradict each other.
    """
    found: list[Evidence] = []
    rest, given = dict(texts), Given(texts)
    units = "".join(text for text in texts.values() if _SECTION.search(text))
    for path, text in texts.items():
        kind = _kind(text)
        if kind == "command" and PurePath(path).name in units:
            continue  # a unit runs it
        if kind == "inventory":
            raise UsageError(f"{path} is an inventory already", hint=f"etcdops inventory check -i {path}")
        if kind:
            del rest[path]
        if kind == "inspect":
            found += await inspected(text, path)
        elif kind == "compose":
            others = {other: content for other, content in texts.items() if other != path}
            found += await composed(text, path, others)
            for other in _env_files(others):
                rest.pop(other, None)
        elif kind == "command":
            found += await commanded(text, path, given)
        elif kind == "pod":
            found += [pod] if (pod := static_pod(text, path)) is not None else []
    rest = {path: text for path, text in rest.items() if path not in given.used}
    if rest or not found:
        found.append(await _written(rest or texts))
    return found


async def _written(texts: Mapping[str, str]) -> Evidence:
    """Raises: UsageError - as `read_written`, or its unit starts a container that is no member."""
    written, source = await read_written(texts), ", ".join(texts)
    if written.container is None:
        return of_written(written, source)
    found = await of_start(written.container, Given(texts), unit=written.unit)
    if found is None:
        raise UsageError(
            f"{source}: the container that it starts is not seen to be etcd",
            cause="it is neither called so nor told to run it",
            hint="a container that is there says more: docker inspect NAME > FILE; or import the host itself: --host",
        )
    return replace(found, notes=(*written.notes, *found.notes))


def _kind(text: str) -> str:
    """`inspect`, `compose`, `pod`, `inventory`, `command`; empty: a unit, variables or etcd's config file."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            data = json.loads(text)
        except ValueError:
            return ""
        first = data[0] if isinstance(data, list) and data else data
        return "inspect" if isinstance(first, dict) and "Config" in first else _of_mapping(first)
    try:
        kind = _of_mapping(yaml.safe_load(text))
    except yaml.YAMLError:
        kind = ""
    return kind or ("command" if not _SECTION.search(text) and is_command(text) else "")


def _of_mapping(data: object) -> str:
    if not isinstance(data, dict):
        return ""
    if isinstance(data.get("hosts"), dict) and isinstance(data.get("clusters"), dict):
        return "inventory"
    if data.get("kind") == "Pod":
        return "pod"
    return "compose" if isinstance(data.get("services"), dict) else ""


def _env_files(texts: Mapping[str, str]) -> list[str]:
    """Those that only a compose file reads: variables, and no unit."""
    return [path for path, text in texts.items() if path.endswith("env") and "[Service]" not in text]
