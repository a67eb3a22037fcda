"""What a container starts: from what it, its image, or the words it is to be made with say."""

from __future__ import annotations

import fnmatch
import itertools
import json
import posixpath
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from etcdops.services.container_arguments import Arguments, parse_engine_environment
from etcdops.services.container_facts import ImageConfig
from etcdops.services.etcd_settings import Placed, Start
from etcdops.services.member_process import member_words
from etcdops.services.start_script import read_shell_start

_ENV = ("--env", "-e")
_SHELLS = ("sh", "bash", "dash")
_DEFAULT_DATA_DIRS = {"/opt/bitnami/scripts/etcd/": "/bitnami/etcd/data"}
"""Folder of an image's start scripts -> the data directory that they set."""
_CALLED_ETCD = re.compile(r"(.*[-_.])?etcd([-_.]?(v?\d[\w.]*|amd64|arm64|ppc64le|s390x|server|node|member|debian))*\Z")
_SCRIPTS_OF_IMAGES = {"bitnami": "/opt/bitnami/scripts/etcd/"}
"""A word in an image's name -> where its start scripts are, for images that cannot be asked."""

Read = Callable[[str], Awaitable[str | None]]
"""The text of a file; None when there is none."""


@dataclass(frozen=True, slots=True)
class Contained:
    """What a container is started with, etcd or not."""

    words: Sequence[Placed]
    """Entry point and command."""
    env: Mapping[str, Placed]
    user: str
    folder: str
    image: str
    notes: tuple[str, ...] = field(default=())

    @property
    def start(self) -> Start:
        """`image program` and what comes behind the program, whatever it is."""
        count = member_words([word.text for word in self.words]) or min(len(self.words), 1)
        program = " ".join([self.image, *(word.text for word in self.words[:count])])
        return Start(program, self.words[count:], self.env, self.user, self.folder, self.notes)


def of_container(image: str, config: ImageConfig, where: str) -> Contained:
    """Of one that is there."""
    words = [Placed(word, where) for word in (*config.entrypoint, *config.command)]
    env = {name: Placed(value, where) for name, value in config.env.items()}
    return Contained(words, env, config.user, config.folder, image)


async def of_arguments(
    arguments: Arguments, image: ImageConfig, read: Read, caller: Mapping[str, Placed] | None = None
) -> Contained:
    """Of one that is yet to be made.

    Args: image - what it says itself, empty when it cannot be asked; read - gives env files; caller - variables where
        the command runs, of which `--env NAME` takes one.
    """
    origin = f"image {arguments.image}"
    env = {name: Placed(value, origin) for name, value in image.env.items()}
    notes: list[str] = []
    for path in arguments.options("--env-file"):
        text = await read(path.text)
        if text is None:
            notes.append(f"{path.where}: {path.text} was not read: what it sets is missing here")
        env |= parse_engine_environment(text or "", path.text)
    for pair in arguments.options(*_ENV):
        name, equals, value = pair.text.partition("=")
        if equals:
            env[name] = Placed(value, pair.where)
            continue
        taken = {known: one for known, one in (caller or {}).items() if fnmatch.fnmatchcase(known, name)}
        if not taken:
            notes.append(f"{pair.where}: {name} is taken from where the container is started, and is not known here")
        env |= taken
    entries, given = arguments.options("--entrypoint"), arguments.command
    entry = _entry(entries[-1]) if entries else [Placed(word, origin) for word in image.entrypoint]
    if not given and not entries:
        given = tuple(Placed(word, origin) for word in image.command)
    users, folders = arguments.options("--user", "-u"), arguments.options("--workdir", "-w")
    return Contained(
        [*entry, *given],
        env,
        users[-1].text if users else image.user,
        folders[-1].text if folders else image.folder,
        arguments.image,
        tuple(notes),
    )


def _entry(word: Placed) -> list[Placed]:
    """podman takes a list in JSON too; an empty one takes the image's away."""
    try:
        listed = json.loads(word.text) if word.text.startswith("[") else [word.text]
    except ValueError:
        listed = [word.text]
    return [Placed(str(one), word.where) for one in listed if one]


async def member_start(contained: Contained, read: Read) -> Start | None:
    """The member that a container starts; None: nothing that is seen to be one.

    Of an image that could not be asked, its name tells: one that is called etcd begins with the program, so that flags
    alone are its arguments. Args: read - gives a script that the container would run.
    """
    words, image = contained.words, contained.image
    if member_words([word.text for word in words]) is not None:
        return contained.start
    start = await behind_scripts(contained.start, read)
    if start.program != contained.start.program:
        return start
    if not _CALLED_ETCD.match(image.partition("@")[0].rpartition("/")[2].partition(":")[0]):
        return start if "data-dir" in start.env or "ETCD_DATA_DIR" in start.env else None
    first = words[0].text if words else ""
    scripts = next((path for word, path in _SCRIPTS_OF_IMAGES.items() if word in image), "")
    if scripts and (not first or first.startswith(("-", "/"))):
        env = {"ETCD_DATA_DIR": Placed(_DEFAULT_DATA_DIRS[scripts], "the image's start scripts"), **start.env}
        return replace(start, program=f"{image} etcd", arguments=(), env=env)
    if first and not first.startswith("-") and not first.endswith(".sh"):
        return None
    guess = f"that {image} starts etcd is a guess by its name"
    flags = itertools.dropwhile(lambda word: not word.text.startswith("-"), words)
    return replace(start, program=f"{image} etcd", arguments=tuple(flags), notes=(*start.notes, guess))


async def behind_scripts(start: Start, read: Read) -> Start:
    """What an image's own start scripts add."""
    words = [start.program.partition(" ")[2], *(word.text for word in start.arguments)]
    if posixpath.basename(words[0]) in _SHELLS:
        return await read_shell_start([Placed(words[0], ""), *start.arguments], start, read)
    for scripts, data_dir in _DEFAULT_DATA_DIRS.items():
        if any(word.startswith(scripts) for word in words):
            env = {"ETCD_DATA_DIR": Placed(data_dir, f"the image's {scripts}"), **start.env}
            return replace(start, env=env, arguments=())
    return start


def volumes(arguments: Arguments) -> list[tuple[str, str]]:
    """(what lies on the host, or a volume's name, or empty; where the container sees it), the last one first."""
    found: list[tuple[str, str]] = []
    for word in arguments.words[: len(arguments.words) - len(arguments.command) - 1]:
        name, _, value = word.text.partition("=")
        if name in ("--volume", "-v"):
            source, colon, rest = value.partition(":")
            found.append((source, rest.partition(":")[0]) if colon else ("", source))
        elif name == "--mount":
            found.append(_mount(value))
        elif name == "--tmpfs":
            found.append(("", value.partition(":")[0]))
    return found[::-1]


def _mount(value: str) -> tuple[str, str]:
    """`type=bind,source=/srv,destination=/data`, with any of the engines' names for the two."""
    parts = dict(part.partition("=")[::2] for part in value.split(","))
    source = next((parts[name] for name in ("source", "src") if name in parts), "")
    target = next((parts[name] for name in ("destination", "dst", "target") if name in parts), "")
    return (source if parts.get("type") != "tmpfs" else ""), target


def below(path: str, target: str) -> str | None:
    """What is left of a path of the container behind a volume's place in it; None: it is not on that volume."""
    inside, top = posixpath.normpath(path), target.rstrip("/")
    return inside[len(top) :] if inside == top or inside.startswith(f"{top}/") else None


def outside(arguments: Arguments, path: str) -> str | None:
    """Where a path would lie on the host, from the volumes that are written down; None: on none whose place is said."""
    fitting = ((len(target), source, rest) for source, target in volumes(arguments)
               if (rest := below(path, target)) is not None)  # fmt: skip
    _, source, rest = max(fitting, default=(0, "", ""), key=lambda one: one[0])
    return posixpath.normpath(f"{source}/{rest}") if source.startswith("/") else None
