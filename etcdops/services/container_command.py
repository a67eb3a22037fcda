"""The command that makes a member's container: `docker run ...`, `podman create ...`, `nerdctl run ...`."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.errors import UsageError
from etcdops.inventory.model import Manager
from etcdops.services.container_arguments import Arguments
from etcdops.services.engine_options import OF_ENGINE, OF_RUN
from etcdops.services.etcd_settings import Placed

ENGINES = ("docker", "podman", "nerdctl")
_MAKE = ("run", "create")
_ELSEWHERE = ("host", "context", "connection", "url", "remote", "address", "root")


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """One container as the command says that it is made."""

    engine: str
    """`docker`, `podman` or `nerdctl`."""
    arguments: Arguments
    """Every option by its long name, as `--option=value`."""
    elsewhere: tuple[str, ...] = ()
    """Options of the engine that say another machine, another user's or another folder's containers."""

    @property
    def name(self) -> str:
        """Empty: the engine makes one up."""
        return self.option("name")

    @property
    def where(self) -> str:
        """Of the image: it stands in each command once."""
        return self.arguments.words[-len(self.arguments.command) - 1].where

    def option(self, name: str) -> str:
        """The value that counts of an option that counts once; empty: it is not given."""
        found = self.arguments.options(f"--{name}")
        return found[-1].text if found else ""


def is_engine(program: str) -> bool:
    return posixpath.basename(program) in ENGINES


def keeper_of(program: str) -> Manager:
    """Whom an inventory names for an engine: it knows docker and podman."""
    return Manager.PODMAN if posixpath.basename(program) == "podman" else Manager.DOCKER


def makes_container(words: Sequence[Placed]) -> bool:
    """Whether a command line is an engine's, and makes a container; it may still be one that cannot be read."""
    if not words or not is_engine(words[0].text):
        return False
    try:
        return _subcommand(words)[1] is not None
    except UsageError:
        return any(word.text in _MAKE for word in words)


def parse_command(words: Sequence[Placed]) -> ContainerCommand | None:
    """Of a command line that begins with the engine; None: it makes no container, such as `docker rm etcd`.

    Raises: UsageError - an option is not known, or there is no image.
    """
    if not words or not is_engine(words[0].text):
        return None
    of_engine, rest = _subcommand(words)
    if rest is None:
        return None
    engine, verb = posixpath.basename(words[0].text), rest[0]
    options, behind = OF_RUN.read(rest[1:], f"{engine} {verb.text}")
    if not behind or not behind[0].text:
        raise UsageError(
            f"{verb.where}: {engine} {verb.text} names no image", hint="is the command whole? Lines go on behind a \\"
        )
    elsewhere = tuple(one.text for one in of_engine if one.text[2:].partition("=")[0] in _ELSEWHERE)
    return ContainerCommand(engine, Arguments((*options, *behind)), elsewhere)


def started_container(words: Sequence[Placed]) -> str:
    """The container that `docker start NAME` starts, which was made before; empty: the command is another."""
    if not words or not is_engine(words[0].text):
        return ""
    plain = [word.text for word in words[1:] if not word.text.startswith("-")]
    plain = plain[1:] if plain[:1] == ["container"] else plain
    return plain[-1] if plain[:1] == ["start"] and len(plain) > 1 else ""


def _subcommand(words: Sequence[Placed]) -> tuple[list[Placed], list[Placed] | None]:
    """(options of the engine, what follows them from `run` or `create` on; None: it is another command)."""
    found, rest = OF_ENGINE.read(words[1:], posixpath.basename(words[0].text))
    if rest and rest[0].text == "container":
        rest = rest[1:]
    return found, rest if rest and rest[0].text in _MAKE else None
