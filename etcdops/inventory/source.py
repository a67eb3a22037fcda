"""YAML that remembers where everything was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

Key = str | int
Location = tuple[Key, ...]
"""The way to a value: keys of mappings, numbers in lists from 0."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong in a file."""

    path: Path
    line: int
    """From 1; 0: the file as a whole."""
    location: Location
    message: str
    fix: str = ""

    def __str__(self) -> str:
        """`prod.yaml:12: clusters.prod.members[0].host: there is no host etcd-9 (fix: ...)`."""
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        named = f"{name}: " if (name := dotted(self.location)) else ""
        return f"{place}: {named}{self.message}" + (f" (fix: {self.fix})" if self.fix else "")


def dotted(location: Sequence[Key]) -> str:
    """`clusters.prod.members[0].host`."""
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


class NotUsable(Exception):
    """A file that is no YAML mapping. `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Document:
    """One file: `data` as plain values, `line` for any place in it, `faults` found while reading."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises: NotUsable - it is no YAML, or no mapping."""
        self.path = path
        self.faults: list[Fault] = []
        self._lines: dict[Location, int] = {}
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "it is no YAML"
            raise NotUsable(Fault(path, mark.line + 1 if mark else 0, (), problem)) from error
        if root is None:
            raise NotUsable(Fault(path, 0, (), "it is empty", "it needs `hosts:` and `clusters:`"))
        if not isinstance(root, yaml.MappingNode):
            raise NotUsable(Fault(path, 1, (), "it is no mapping", "it needs `hosts:` and `clusters:` at its top"))
        self._constructor = yaml.SafeLoader("")
        self.data = self._mapping(root, ())

    def line(self, location: Sequence[Key]) -> int:
        """Where a value, or else the innermost thing around it, was written."""
        place = tuple(location)
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def has(self, location: Sequence[Key]) -> bool:
        """Whether this very thing was written."""
        return tuple(location) in self._lines

    def fault(self, location: Sequence[Key], message: str, fix: str = "") -> Fault:
        return Fault(self.path, self.line(location), tuple(location), message, fix)

    def _value(self, node: yaml.Node, location: Location) -> object:
        self._lines.setdefault(location, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*location, number)) for number, item in enumerate(node.value)]
        try:
            return self._constructor.construct_object(node)
        except yaml.YAMLError as error:
            self.faults.append(self.fault(location, getattr(error, "problem", None) or str(error)))
            return None

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        self._report_repeated(node, location)
        # `<<: *base` is YAML's own way of saying things once: it comes first here, and what stands beside it wins
        self._constructor.flatten_mapping(node)
        found: dict[str, object] = {}
        for key, value in node.value:
            place = (*location, str(key.value))
            found[str(key.value)] = self._value(value, place)
            self._lines[place] = key.start_mark.line + 1
        return found

    def _report_repeated(self, node: yaml.MappingNode, location: Location) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in first:
                message = f"it is there twice: in line {first[name]} and in line {line}"
                self.faults.append(Fault(self.path, line, (*location, name), message, "keep one of them"))
            first.setdefault(name, line)
