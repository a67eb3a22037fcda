"""Sentences about what was seen, in two languages: each text in one place, what was seen filled in by name.

A text is a template such as `{member} uses {used:bytes} of {limit:bytes}`. Values stay values until somebody reads
them, so that `--json` can give them as they are. Both languages of a text take the same fields, and whoever says
something must give all of them: what is forgotten fails where it is said, in whatever language it would be read.
"""

from __future__ import annotations

import re
import string
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeAlias

from etcdops.diagnosis.causes import LANGUAGES
from etcdops.numbers import show_bytes, show_count, show_duration
from etcdops.wording import Texts

Value: TypeAlias = "str | int | float | Said | Texts | tuple[Value, ...]"
"""What a text can be filled with; `Texts` are words that come from elsewhere."""


@dataclass(frozen=True, slots=True)
class Said:
    """A phrase of `phrases.toml` with what fills it."""

    key: str
    fields: tuple[tuple[str, Value], ...] = ()


_JOINS: Mapping[str, Mapping[str, str]] = {
    "": {"en": ", ", "zh": "、"},
    "and": {"en": " and ", "zh": " 和 "},
    "or": {"en": " or ", "zh": " 或 "},
    "steps": {"en": "; ", "zh": "；"},
}
"""How lists are read: `{names}`, `{names:and}`."""
_NUMBERS: Mapping[str, Callable[[float], str]] = {
    "bytes": show_bytes,
    "count": show_count,
    "duration": show_duration,
    "percent": lambda share: f"{share:.0%}",
}
_TIMES: Mapping[str, int] = {"day": 10, "minute": 16}
"""How much of a time as RFC 3339 writes it is read."""
_BETWEEN_CHARACTERS = re.compile("(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
"""A template leaves blanks for values of other scripts; between Chinese characters there is none."""
_SENTENCE = "sentence"
"""The first letter becomes a capital."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text of one language. `parts`: (words, field, how it is shown), the last with an empty field maybe."""

    parts: tuple[tuple[str, str, str], ...]

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(field for _, field, _ in self.parts if field)

    def fill(self, values: Mapping[str, Value], language: str) -> str:
        """Raises: KeyError - a field has no value."""
        pieces = (words + (_shown(values[field], spec, language) if field else "") for words, field, spec in self.parts)
        text = "".join(pieces)
        return _BETWEEN_CHARACTERS.sub("", text) if language == "zh" else text


Wording: TypeAlias = Mapping[str, Template]
"""One text by language."""


def parse_template(text: str) -> Template:
    """Raises: ValueError - braces that do not fit, a field without a name, a way of showing that does not exist."""
    parts = []
    for words, field, spec, conversion in string.Formatter().parse(text):
        if field is not None and not field.isidentifier():
            raise ValueError(f"{text!r}: {field!r} is no name of a field")
        known = not spec or "|" in spec or spec in (*_JOINS, *_NUMBERS, *_TIMES, _SENTENCE)
        if conversion or not known:
            raise ValueError(f"{text!r}: nothing is shown as {spec or conversion!r}")
        parts.append((words, field or "", spec or ""))
    return Template(tuple(parts))


def parse_wording(texts: Mapping[str, str], where: str) -> Wording:
    """Raises: ValueError - a language is missing, or takes other fields than the other one."""
    lacks = [language for language in LANGUAGES if not texts.get(language)]
    if lacks:
        raise ValueError(f"{where} says nothing in {', '.join(lacks)}")
    found = {language: parse_template(texts[language]) for language in LANGUAGES}
    first, second = (template.fields for template in found.values())
    if first != second:
        raise ValueError(f"{where}: only one language tells {', '.join(sorted(first ^ second))}")
    return found


def require_fields(given: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raises: ValueError - something that a text tells was not given."""
    missing = set(wanted) - set(given)
    if missing:
        raise ValueError(f"{where} is said without {', '.join(sorted(missing))}")


@cache
def phrases() -> Mapping[str, Wording]:
    """What findings have in common, by `group.name`. Raises: ValueError - the file is not as it must be."""
    read = tomllib.loads((files("etcdops.doctor") / "phrases.toml").read_text(encoding="utf-8"))
    return {
        f"{group}.{name}": parse_wording(texts, f"{group}.{name}")
        for group, names in read.items()
        for name, texts in names.items()
    }


def say(key: str, /, **fields: Value) -> Said:
    """Raises: KeyError - there is no such phrase; ValueError - it tells something that is not given."""
    require_fields(fields, phrases()[key]["en"].fields, key)
    return Said(key, tuple(fields.items()))


def in_words(value: Value | None, language: str) -> str:
    """As people read it; None is silence."""
    return "" if value is None else _shown(value, "", language)


def _shown(value: Value, spec: str, language: str) -> str:
    if "|" in spec:
        one, many = spec.split("|")
        return one if (len(value) if isinstance(value, tuple) else value) == 1 else many
    if isinstance(value, tuple):
        return _JOINS[spec][language].join(_shown(one, "", language) for one in value if one != "")
    if isinstance(value, Said):
        text = phrases()[value.key][language].fill(dict(value.fields), language)
        return text[:1].upper() + text[1:] if spec == _SENTENCE else text
    if isinstance(value, Texts):
        return value[language]
    if isinstance(value, str):
        return value[: _TIMES[spec]].replace("T", " ") if spec in _TIMES else value
    return _NUMBERS[spec](value) if spec in _NUMBERS else format(value)
