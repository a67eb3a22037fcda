"""One value of an inventory written anew where it stands: comments, order, quotes and line ends of the rest stay.

The file is somebody's, and mostly in version control: what is not meant does not change. So the text is edited by the
places that YAML's parser tells, and the outcome is read again: it has to be the same inventory with this one value.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from etcdops.errors import UsageError
from etcdops.files import replace_file
from etcdops.inventory.find import find_cluster
from etcdops.inventory.load import inventory_texts, read_texts

_PLAIN = re.compile(r"[A-Za-z][\w.-]*")
"""What means the same with and without quotes, unless YAML has another meaning for it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A file of an inventory as it is, and as it is to be."""

    path: Path
    before: str
    after: str

    def __bool__(self) -> bool:
        return self.before != self.after

    @property
    def diff(self) -> str:
        """Unified; empty: nothing is to be written."""
        name, before, after = str(self.path), self.before.splitlines(), self.after.splitlines()
        lines = difflib.unified_diff(before, after, fromfile=name, tofile=name, n=2, lineterm="")
        return "".join(f"{line}\n" for line in lines)

    def write(self, suffix: str) -> Path | None:
        """Replace the file as a whole. Returns: where it is kept as it was, `FILE.suffix`; None: nothing was to do.

        Safe to repeat. Raises: UsageError - it is not what it was when this edit was made, or cannot be written.
        """
        if not self:
            return None
        target = self.path.resolve()  # a link stays a link
        kept = target.with_name(f"{target.name}.{suffix}")
        try:
            if (found := _read(target)) != self.before:
                raise UsageError(
                    f"{self.path} was changed meanwhile" if found != self.after else f"{self.path} is written already",
                    hint="run the same command again",
                )
            mode = target.stat()
            if not kept.exists():
                _put(kept, self.before, mode)
            _put(target, self.after, mode)
        except OSError as error:
            raise UsageError(
                f"{self.path} cannot be written", cause=error.strerror or str(error), hint="write it there by hand"
            ) from error
        return kept


def token_edit(paths: Sequence[Path], cluster: str, token: str) -> Edit:
    """Write a cluster's token, as a recovery has made it, into the file that the cluster is described in.

    Args: paths - of the inventory, as `load_inventory` takes them.
    Raises: InventoryError; UsageError - it cannot be done without changing something else; the hint says what to write.
    """
    texts = inventory_texts(paths)
    read = read_texts(texts)
    find_cluster(read.inventory, cluster)
    path = read.owners["clusters", cluster].path
    by_hand = UsageError(
        f"{path} cannot be edited here: what it says of {cluster} is made of references to other places",
        hint=f"write it by hand: clusters.{cluster}.token: {token}",
    )
    before = _read(path)
    after = _with_token(before, cluster, _quoted(token))
    if after is None:
        raise by_hand
    wanted = read.inventory.clusters[cluster].model_copy(update={"token": token})
    try:
        renewed = read_texts({**texts, path: after}).inventory
    except UsageError as error:
        raise by_hand from error
    if renewed != read.inventory.model_copy(update={"clusters": {**read.inventory.clusters, cluster: wanted}}):
        raise by_hand
    return Edit(path, before, after)


def token_command(paths: Sequence[Path], cluster: str, token: str) -> str:
    """The command line that makes this edit, to be told to a person."""
    given = [word for path in paths for word in ("-i", str(path))]
    return shlex.join(["etcdops", "inventory", "set-token", *given, "--cluster", cluster, token])


def _with_token(text: str, cluster: str, value: str) -> str | None:
    """None: the mapping, or its token, stands somewhere else and is only referred to."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    clusters = _below(root, "clusters")
    described = _below(clusters[1], cluster) if clusters is not None else None
    if described is None:
        return None
    key, mapping = described
    if not isinstance(mapping, yaml.MappingNode) or not mapping.value:
        return None
    token = _below(mapping, "token")
    if token is not None:
        return _replaced(text, *token, value)
    if mapping.flow_style:
        at = text.index("{", mapping.start_mark.index) + 1  # an anchor may come first
        return f"{text[:at]}token: {value}, {text[at:]}"
    line_end = text.index("\n", key.end_mark.index) + 1  # a block mapping begins on a line below its key
    indent, newline = " " * mapping.value[0][0].start_mark.column, "\r\n" if text[line_end - 2] == "\r" else "\n"
    return f"{text[:line_end]}{indent}token: {value}{newline}{text[line_end:]}"


def _below(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """(key, value) written right here, not by an alias or a merge."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value == name and value.start_mark.index >= key.end_mark.index:
            return key, value
    return None


def _replaced(text: str, key: yaml.Node, node: yaml.Node, value: str) -> str | None:
    if not isinstance(node, yaml.ScalarNode) or node.style in ("|", ">"):
        return None
    start, end = node.start_mark.index, node.end_mark.index
    space = "" if text[start - 1].isspace() else " "  # `token:` and nothing behind it
    return f"{text[:start]}{space}{value}{text[end:]}"


def _quoted(value: str) -> str:
    means_itself = _PLAIN.fullmatch(value) is not None and yaml.safe_load(value) == value
    return value if means_itself else json.dumps(value)


def _read(path: Path) -> str:
    """With its own line ends. Raises: OSError."""
    return path.read_bytes().decode()


def _put(path: Path, text: str, like: os.stat_result) -> None:
    """Raises: OSError."""
    replace_file(path, text.encode(), mode=like.st_mode & 0o777)
    if os.geteuid() == 0:  # whose inventory it is does not change by who recovers the cluster
        os.chown(path, like.st_uid, like.st_gid)
