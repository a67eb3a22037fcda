"""What a container is made with: the file of `rendering.places.container_arguments`, and the engines' env files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from etcdops.services.etcd_settings import Placed


@dataclass(frozen=True, slots=True)
class Arguments:
    """Everything after `create --name NAME`: options as `--option=value`, the image, the member's arguments."""

    words: tuple[Placed, ...]

    @classmethod
    def parse(cls, text: str, path: str) -> Arguments:
        """Raises: ValueError - a quotation is not closed."""
        return cls(tuple(_words(text, path)))

    @property
    def _image_at(self) -> int:
        return next((at for at, word in enumerate(self.words) if not word.text.startswith("-")), len(self.words))

    @property
    def image(self) -> str:
        """Empty when there is none."""
        return self.words[self._image_at].text if self._image_at < len(self.words) else ""

    @property
    def command(self) -> tuple[Placed, ...]:
        """What follows the image."""
        return self.words[self._image_at + 1 :]

    def options(self, *names: str) -> list[Placed]:
        """Values of an option, by any of its names, in their order."""
        found: list[Placed] = []
        for word in self.words[: self._image_at]:
            name, _, value = word.text.partition("=")
            if name in names:
                found.append(Placed(value, word.where))
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of the words; how they are quoted and spread over lines does not count."""
        return hashlib.sha256("\0".join(word.text for word in self.words).encode()).hexdigest()


def parse_engine_environment(text: str, path: str) -> dict[str, Placed]:
    """An `--env-file` of docker or podman: values are taken as they are, quotes included."""
    found: dict[str, Placed] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.lstrip().partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = Placed(value, f"{path}:{number}")
    return found


def _words(text: str, path: str) -> Iterator[Placed]:
    """As a POSIX shell splits and unquotes them, with nothing expanded."""
    at = 0
    word: str | None = None
    where = ""
    while at < len(text):
        if word is None:
            where = f"{path}:{text.count(chr(10), 0, at) + 1}"
        if word is None and text[at] == "#":
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
            continue
        piece, at = _piece(text, at, where)
        if piece is not None:
            word = (word or "") + piece
        elif word is not None:
            yield Placed(word, where)
            word = None
    if word is not None:
        yield Placed(word, where)


def _piece(text: str, at: int, where: str) -> tuple[str | None, int]:
    """(what stands at `at`, where it ends); None: space between words. Raises: ValueError."""
    character = text[at]
    if character.isspace():
        return None, at + 1
    if character == "\\":
        escaped = text[at + 1 : at + 2]
        return (None if escaped == "\n" else escaped), at + 2
    if character == "'":
        end = text.find("'", at + 1)
        if end < 0:
            raise ValueError(f"{where}: ' is not closed")
        return text[at + 1 : end], end + 1
    if character == '"':
        return _double_quoted(text, at + 1, where)
    return character, at + 1


def _double_quoted(text: str, at: int, where: str) -> tuple[str, int]:
    value = ""
    while at < len(text) and text[at] != '"':
        if text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            at += 1
        value += text[at]
        at += 1
    if at >= len(text):
        raise ValueError(f'{where}: " is not closed')
    return value, at + 1
