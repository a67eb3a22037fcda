"""systemd's files, read as systemd reads them: units with their drop-ins, and environment files.

Source: systemd src/shared/conf-parser.c, src/basic/extract-word.c, src/basic/env-file.c, src/core/execute.c; man
systemd.syntax, systemd.service (COMMAND LINES), systemd.exec (EnvironmentFile).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from etcdops.services.etcd_settings import Placed

_SIMPLE_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ",
    "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_NUMBERED = {"x": 2, "u": 4, "U": 8}
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)")
_WHOLE_WORD = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_EXEC_PREFIXES = "@-:+!|"


@dataclass(frozen=True, slots=True)
class Assignment:
    """`key=value` of a section. The value is kept in the lines it was written on."""

    section: str
    key: str
    lines: tuple[Placed, ...]

    @property
    def value(self) -> str:
        return " ".join(line.text for line in self.lines).strip()

    @property
    def where(self) -> str:
        return self.lines[0].where


def parse_unit(text: str, path: str) -> list[Assignment]:
    """All assignments of one file, in their order. Lines that are none are skipped, as systemd does."""
    found: list[Assignment] = []
    section = ""
    for lines in _logical_lines(text, path):
        first = lines[0].text.strip()
        if first.startswith("["):
            section = first.strip("[]")
            continue
        key, equals, value = first.partition("=")
        if equals:
            rest = (Placed(line.text.strip(), line.where) for line in lines[1:])
            found.append(Assignment(section, key.strip(), (Placed(value.strip(), lines[0].where), *rest)))
    return found


def _logical_lines(text: str, path: str) -> Iterator[list[Placed]]:
    """Lines with those that continue them; comments and empty lines in between are left out."""
    open_lines: list[Placed] = []
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not open_lines):
            continue
        goes_on = (len(line) - len(line.rstrip("\\"))) % 2 == 1
        open_lines.append(Placed(line[:-1] if goes_on else line, f"{path}:{number}"))
        if not goes_on:
            yield open_lines
            open_lines = []
    if open_lines:
        yield open_lines


def effective(assignments: Sequence[Assignment], section: str, key: str) -> list[Assignment]:
    """What counts of a setting that may stand several times: an empty one takes back those before it."""
    found: list[Assignment] = []
    for one in assignments:
        if (one.section, one.key) == (section, key):
            found = [] if not one.value else [*found, one]
    return found


def last(assignments: Sequence[Assignment], section: str, key: str) -> str:
    """The value of a setting that counts once."""
    found = effective(assignments, section, key)
    return found[-1].value if found else ""


def split_words(lines: Sequence[Placed]) -> list[Placed]:
    """Words as systemd splits and unquotes them, each with the place it begins at."""
    return [word for line in _joined_quotes(lines) for word in _words_of(line)]


def _joined_quotes(lines: Sequence[Placed]) -> Iterator[Placed]:
    """Lines, except that one which ends inside a quotation takes the next one in."""
    pending: Placed | None = None
    for line in lines:
        pending = line if pending is None else Placed(f"{pending.text} {line.text}", pending.where)
        if not _ends_inside_quotes(pending.text):
            yield pending
            pending = None
    if pending is not None:
        yield pending


def _ends_inside_quotes(text: str) -> bool:
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            next(characters, "")
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return bool(quote)


def _words_of(line: Placed) -> Iterator[Placed]:
    text, position = line.text, 0
    word: list[str] | None = None
    quote = ""
    while position < len(text):
        character = text[position]
        if character == "\\":
            taken, position = _escape(text, position + 1)
            word = [*(word or []), taken]
            continue
        position += 1
        if quote:
            if character == quote:
                quote = ""
            else:
                word = [*(word or []), character]
        elif character in "'\"":
            quote, word = character, word or []
        elif character.isspace():
            if word is not None:
                yield Placed("".join(word), line.where)
            word = None
        else:
            word = [*(word or []), character]
    if word is not None:
        yield Placed("".join(word), line.where)


def _escape(text: str, position: int) -> tuple[str, int]:
    """(what the escape at `position`, behind its backslash, stands for, where it ends)."""
    kind = text[position : position + 1]
    if kind in _SIMPLE_ESCAPES and kind:
        return _SIMPLE_ESCAPES[kind], position + 1
    if kind in _NUMBERED and kind:
        digits = text[position + 1 : position + 1 + _NUMBERED[kind]]
        if len(digits) == _NUMBERED[kind] and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            return chr(int(digits, 16)), position + 1 + len(digits)
    octal = text[position : position + 3]
    if len(octal) == 3 and all(digit in "01234567" for digit in octal):
        return chr(int(octal, 8)), position + 3
    return "\\", position


def expand_specifiers(text: str, specifiers: Mapping[str, str]) -> str:
    """`%n` and the like; those that are not known stay as they are."""
    return re.sub(r"%(.)", lambda match: "%" if match[1] == "%" else specifiers.get(match[1], match[0]), text)


def specifiers(unit: str, host: str, user: str = "root") -> dict[str, str]:
    """What can be said of a system unit without asking its host further."""
    name, _, kind = unit.rpartition(".")
    prefix, at, instance = name.partition("@")
    return {
        "n": unit, "N": name, "p": prefix, "P": _unescape_path(prefix), "i": instance if at else "",
        "I": _unescape_path(instance), "j": prefix.rpartition("-")[2], "f": f"/{_unescape_path(instance or prefix)}",
        "H": host, "l": host.partition(".")[0], "q": host, "u": user or "root", "t": "/run", "S": "/var/lib",
        "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp", "V": "/var/tmp",  # noqa: S108  # systemd's words
        "h": "/root" if user in ("", "root") else f"/home/{user}", "s": "/bin/sh", "y": "", "Y": "", "k": kind,
    }  # fmt: skip


def _unescape_path(text: str) -> str:
    plain = text.replace("-", "/")
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), plain)


def expand_variables(words: Sequence[Placed], env: Mapping[str, Placed]) -> list[Placed]:
    """`${NAME}` inside a word, `$NAME` as a word of its own which becomes as many as it has; `$$` is a dollar."""
    expanded: list[Placed] = []
    for word in words:
        alone = _WHOLE_WORD.match(word.text)
        if alone is not None:
            value = env.get(alone[1])
            expanded += split_words([value]) if value is not None else []
        else:
            expanded.append(Placed(_VARIABLE.sub(lambda match: _expansion(match, env), word.text), word.where))
    return expanded


def unset_variables(words: Sequence[Placed], env: Mapping[str, Placed]) -> tuple[str, ...]:
    """Those that `expand_variables` finds nothing for."""
    found: list[str] = []
    for word in words:
        alone = _WHOLE_WORD.match(word.text)
        found += [alone[1]] if alone is not None else [match[1] for match in _VARIABLE.finditer(word.text) if match[1]]
    return tuple(name for name in dict.fromkeys(found) if name not in env)


def _expansion(match: re.Match[str], env: Mapping[str, Placed]) -> str:
    if match[0] == "$$":
        return "$"
    if match[1] is None:
        return match[0]  # only the form in braces is replaced inside a word
    found = env.get(match[1])
    return found.text if found is not None else ""


def strip_prefixes(program: str) -> str:
    """The path of an `ExecStart=` without what stands before it, such as `-` or `!!`."""
    return program.lstrip(_EXEC_PREFIXES)


def parse_environment_file(text: str, path: str) -> dict[str, Placed]:
    """Variables of an `EnvironmentFile=`. Names that are none are left out, as systemd does."""
    reader = _EnvironmentReader(text)
    return {
        name: Placed(value, f"{path}:{line}") for name, value, line in reader.assignments() if _ENV_NAME.match(name)
    }


class _EnvironmentReader:
    """One pass over an environment file. Quotes may span lines; a backslash takes the next character as it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def assignments(self) -> Iterator[tuple[str, str, int]]:
        """(name, value, line it begins on)."""
        text = self._text
        while self._position < len(text):
            line = text.count("\n", 0, self._position) + 1
            character = text[self._position]
            if character in "#;":
                self._skip_comment()
            elif character.isspace():
                self._position += 1
            else:
                name = self._name()
                if name is not None:
                    yield name, self._value(), line

    def _skip_comment(self) -> None:
        """To the end of the line; a backslash before it continues the comment too."""
        while self._position < len(self._text) and self._text[self._position] != "\n":
            self._position += 2 if self._text[self._position] == "\\" else 1
        self._position += 1

    def _name(self) -> str | None:
        begin = self._position
        while self._position < len(self._text):
            character = self._text[self._position]
            self._position += 1
            if character == "=":
                return self._text[begin : self._position - 1].strip()
            if character == "\n":
                return None
        return None

    def _value(self) -> str:
        """Quoted and unquoted pieces up to the end of the line, the space around them removed."""
        value: list[str] = []
        kept = 0  # of `value`: what follows is space that is dropped at the end
        begun = False
        while (character := self._take()) not in ("", "\n"):
            # Only where a value begins, or behind another quotation: inside a plain value a quote is itself.
            if character in "'\"" and not begun:
                value += self._quoted(character)
                kept = len(value)
                begun = False
            elif character == "\\":
                escaped = self._take()
                if escaped != "\n":
                    value.append(escaped)
                    kept = len(value)
                begun = True
            elif character.isspace() and not begun:
                continue
            else:
                value.append(character)
                if not character.isspace():
                    kept = len(value)
                begun = True
        return "".join(value[:kept])

    def _quoted(self, quote: str) -> list[str]:
        value: list[str] = []
        while (character := self._take()) not in ("", quote):
            if character != "\\" or quote == "'":
                value.append(character)
                continue
            escaped = self._take()
            if escaped == "\n":
                continue
            value += [escaped] if escaped in '"\\`$' else ["\\", escaped]
        return value

    def _take(self) -> str:
        character = self._text[self._position : self._position + 1]
        self._position += 1
        return character
