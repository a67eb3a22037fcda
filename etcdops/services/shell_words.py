"""The words of a shell script, split, unquoted and expanded as far as that can be told without running it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from etcdops.services.etcd_settings import Placed

ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::?([-+=])(.*))?\Z", re.DOTALL)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")
_TO_NEXT_WORD = re.compile(r"\d*([<>]{1,3}|>\|)\Z")
_PLACE = re.compile(r":\d+\Z")
"""Of a text that stands in a file, such as behind `sh -c`: its lines are not those of the file."""
_ARGUMENTS = '"$@"'


class ShellWords:
    """Words of a script, expanded as they are taken; a `Placed` without a place is the end of a command.

    Args: env - what is set, and may change between two commands; unknown - variables that were set to something that is
        not known, and what that is.
    """

    def __init__(self, text: str, path: str, env: Mapping[str, Placed], unknown: Mapping[str, tuple[str, ...]]) -> None:
        self._text = text
        self._path = path
        self._env = env
        self._unknown = unknown
        self.unset: list[str] = []
        """Variables and substitutions of the words so far that are not known. Whoever takes the words clears it."""
        self._at = 0
        self._is_target = False
        """The next word is where a redirection leads."""

    def __iter__(self) -> Iterator[Placed]:
        text = self._text
        while self._at < len(text):
            character = text[self._at]
            if text.startswith("\\\n", self._at):
                self._at += 2
            elif character == "#":
                end = text.find("\n", self._at)
                self._at = len(text) if end < 0 else end
            elif text.startswith(_ARGUMENTS, self._at):
                # what the script is called with: nothing, where nobody gives any
                self.unset.append("@")
                self._at += len(_ARGUMENTS)
            elif character in "\n;&|(){}" and not text.startswith("${", self._at - 1 if self._at else 0):
                self._at += 1
                yield Placed(character, "")
            elif character.isspace():
                self._at += 1
            else:
                yield from self._word()

    def _word(self) -> Iterator[Placed]:
        """One word, or those that an expansion without quotes falls apart into. Redirections are left out."""
        begin = self._at
        line = self._text.count("\n", 0, self._at) + 1
        where = self._path if _PLACE.search(self._path) else f"{self._path}:{line}"
        parts: list[str] = []
        plain: list[bool] = []
        text = self._text
        while self._at < len(text) and (text[self._at] not in " \t\n;&|()" or self._redirects()):
            character = text[self._at]
            if character == "'":
                end = text.find("'", self._at + 1)
                end = len(text) if end < 0 else end
                self._add(parts, plain, text[self._at + 1 : end], quoted=True)
                self._at = end + 1
            elif character == '"':
                self._at += 1
                self._add(parts, plain, self._double_quoted(), quoted=True)
            elif character == "\\":
                self._add(parts, plain, text[self._at + 1 : self._at + 2].replace("\n", ""), quoted=True)
                self._at += 2
            elif character == "`":
                self._add(parts, plain, self._substitution(), quoted=True)
            elif character == "$":
                self._add(parts, plain, self._expansion(), quoted=bool(parts and ASSIGNMENT.match("".join(parts))))
            else:
                self._add(parts, plain, character, quoted=True)
                self._at += 1
        if self._is_target:
            self._is_target = False
            return
        self._is_target = bool(_TO_NEXT_WORD.match(text[begin : self._at]))
        yield from _fields(parts, plain, where)

    def _redirects(self) -> bool:
        """`2>&1` is one word."""
        return self._text[self._at] == "&" and self._text[self._at - 1 : self._at] in (">", "<")

    @staticmethod
    def _add(parts: list[str], plain: list[bool], text: str, *, quoted: bool) -> None:
        parts.append(text)
        plain.append(not quoted)

    def _double_quoted(self) -> str:
        value: list[str] = []
        text = self._text
        while self._at < len(text) and text[self._at] != '"':
            if text[self._at] == "\\":
                escaped = text[self._at + 1 : self._at + 2]
                value.append(escaped if escaped in '"\\$`' else "" if escaped == "\n" else f"\\{escaped}")
                self._at += 2
            elif text[self._at] == "`":
                value.append(self._substitution())
            elif text[self._at] == "$":
                value.append(self._expansion())
            else:
                value.append(text[self._at])
                self._at += 1
        self._at += 1
        return "".join(value)

    def _substitution(self) -> str:
        """What stands between two backticks, as it is written."""
        end = self._text.find("`", self._at + 1)
        end = len(self._text) if end < 0 else end
        written = self._text[self._at : end + 1]
        self._at = end + 1
        self.unset.append(written)
        return written

    def _expansion(self) -> str:
        """What `$NAME`, `${NAME}` and `${NAME:-other}` are now; other forms stay as they are written."""
        text = self._text
        self._at += 1
        if text.startswith("{", self._at):
            end = text.find("}", self._at)
            end = len(text) if end < 0 else end
            inside = text[self._at + 1 : end]
            self._at = end + 1
            return self._parameter(inside)
        if text.startswith("(", self._at):
            begin, depth = self._at, 0
            while self._at < len(text):
                depth += {"(": 1, ")": -1}.get(text[self._at], 0)
                self._at += 1
                if depth == 0:
                    break
            self.unset.append(f"${text[begin : self._at]}")
            return f"${text[begin : self._at]}"
        match = _PLAIN_NAME.match(text, self._at)
        if match is None:
            return "$"
        self._at = match.end()
        return self._value(match[0])

    def _value(self, name: str) -> str:
        found = self._env.get(name)
        if found is None or name in self._unknown:
            self.unset += self._unknown.get(name, (name,))
        return found.text if found is not None else ""

    def _parameter(self, inside: str) -> str:
        match = _PARAMETER.match(inside)
        if match is None:
            self.unset.append(f"${{{inside}}}")
            return f"${{{inside}}}"
        found = self._env.get(match[1])
        if match[2] == "+":
            return match[3] if found is not None and found.text else ""
        if match[2] in ("-", "=") and (found is None or not found.text):
            return match[3]
        return self._value(match[1])


def _fields(parts: Sequence[str], plain: Sequence[bool], where: str) -> Iterator[Placed]:
    """Join the parts of a word; where an expansion stood without quotes, its spaces separate words."""
    words: list[str] = [""]
    seen = False
    for part, splits in zip(parts, plain, strict=True):
        if not splits:
            words[-1] += part
            seen = True
            continue
        pieces = part.split()
        if part[:1].isspace() and words[-1]:
            words.append("")
        for index, piece in enumerate(pieces):
            if index:
                words.append("")
            words[-1] += piece
        if part[-1:].isspace() and words[-1]:
            words.append("")
    for index, word in enumerate(words):
        empty = seen and index == 0 and len(words) == 1
        if (word or empty) and not re.match(r"\d*[<>]", word):
            yield Placed(word, where)
