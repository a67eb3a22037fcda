"""What findings say: each text once, in both languages, with everything it tells given."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import etcdops
from etcdops.diagnosis.causes import LANGUAGES
from etcdops.doctor.checks.cluster import find
from etcdops.doctor.codes import Words, codes
from etcdops.doctor.finding import Finding, finding
from etcdops.doctor.words import Wording, in_words, parse_template, parse_wording, phrases, say
from etcdops.wording import Texts
from tests.doctor.cases import CASES
from tests.doctor.observations import everything_found
from tests.fakes.cluster_feed import degraded, quorum_lost

PACKAGE = Path(etcdops.__file__).parent
CHINESE = re.compile(r"[\u3400-\u9fff]")
COMMAND = re.compile(r"\b(?:ssh|etcdctl|etcdops) ")
UNSAID = re.compile(r"[a-z-]+$|\w+ \{\w+\}$|(?:ssh|etcdctl|etcdops) |\{")
"""Names, commands and fields alone are no texts."""


def pages() -> Iterator[tuple[str, Words]]:
    for code, page in codes().items():
        for case, words in page.cases.items():
            yield f"{code} {case}".strip(), words


def wordings() -> Iterator[tuple[str, Wording]]:
    yield from phrases().items()
    for where, words in pages():
        yield f"{where}: summary", words.summary
        yield f"{where}: next", words.next_step
        if words.detail is not None:
            yield f"{where}: detail", words.detail


def literals(wording: Wording, language: str) -> str:
    return "".join(words for words, _, _ in wording[language].parts)


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    """Every call of that function in the product, and where it stands."""
    for path in PACKAGE.rglob("*.py"):
        if "_pb2" in path.name or f"{name}(" not in (text := path.read_text(encoding="utf-8")):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def constant(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_page_has_texts() -> None:
    """Reading the catalogue proves that both languages tell the same fields."""
    assert all(page.cases for page in codes().values())
    assert dict(wordings())


def test_a_text_must_have_both_languages_with_the_same_fields() -> None:
    with pytest.raises(ValueError, match="says nothing in zh"):
        parse_wording({"en": "{name} is down"}, "E1")
    with pytest.raises(ValueError, match="only one language tells host"):
        parse_wording({"en": "{name} is down", "zh": "{host} 上的 {name} 已停止"}, "E1")
    with pytest.raises(ValueError, match="nothing is shown as 'byte'"):
        parse_template("{size:byte}")


def test_what_is_not_given_fails_where_it_is_said_in_any_language() -> None:
    """Not first where somebody reads it in Chinese."""
    with pytest.raises(ValueError, match="W803 is said without age_s"):
        finding("W803", "cluster")
    with pytest.raises(ValueError, match="behind is said without behind"):
        say("wait.behind")


def test_every_phrase_that_is_said_exists_and_is_given_its_fields() -> None:
    """Statically: also those that no test happens to say."""
    for where, call in calls("say"):
        key = constant(call.args[0])
        if key is not None:
            given = {word.arg for word in call.keywords}
            assert phrases()[key]["en"].fields <= given, where


def test_every_finding_is_given_the_fields_of_its_texts() -> None:
    checked = 0
    for where, call in calls("finding"):
        code = constant(call.args[0])
        case = constant(call.args[2]) if len(call.args) > 2 else ""
        if code is not None and case is not None:
            given = {word.arg for word in call.keywords}
            assert codes()[code].cases[case].fields <= given | {"subject"}, where
            checked += 1
    assert checked > 60


def test_no_phrase_is_left_over() -> None:
    """By its name, or by its group where the name is computed."""
    said = {constant(call.args[0]) for _, call in calls("say")}
    computed = set(re.findall(r"f[\"']([a-z-]+)\.[a-z-]*\{", "".join(p.read_text() for p in PACKAGE.rglob("*.py"))))
    words = set(re.findall(r"[\"']([a-z]+\.[a-z-]+)[\"']", "".join(p.read_text() for p in PACKAGE.rglob("*.py"))))
    left = [key for key in phrases() if key not in said | words and key.partition(".")[0] not in computed]
    assert left == []


def written(value: object) -> Iterator[str]:
    """Every text as it stands in a file, but for lists: a remedy is many commands."""
    if isinstance(value, str):
        yield value
    for part in value.values() if isinstance(value, dict) else ():
        yield from written(part)


def test_no_text_is_written_twice() -> None:
    """What several findings say is a phrase, or a page is `like` another one."""
    texts: Counter[str] = Counter()
    for path in (PACKAGE / "doctor" / "phrases.toml", *(PACKAGE / "doctor" / "codes").glob("*.toml")):
        texts.update(written(tomllib.loads(path.read_text(encoding="utf-8"))))
    assert [text for text, times in texts.items() if times > 1 and len(text) > 12 and not UNSAID.match(text)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_chinese_is_chinese_and_english_is_not(language: str) -> None:
    for where, wording in wordings():
        text = literals(wording, language)
        if language == "en":
            assert not CHINESE.search(text), where
        elif literals(wording, "en") != text and len(text.strip()) > len("learner"):
            assert CHINESE.search(text) or re.search("[，。；：（）、]", text), where


def test_etcds_own_words_stay_english() -> None:
    """An operator looks for them in flags, metrics and manuals."""
    translated = re.compile("法定人数|配额|告警|租约|修订版本|任期|领导者|学习者")
    folders = (PACKAGE / "doctor", PACKAGE / "diagnosis")
    texts = {path.name: path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.toml")}
    assert {name: found for name, text in texts.items() if (found := translated.findall(text))} == {}


def test_numbers_and_lists_read_well_in_both_languages() -> None:
    lost = say("margin.lost", present=1, voters=3, needed=2)
    assert in_words(lost, "en") == "quorum is lost: 1 of 3 voters answers, 2 are needed"
    silent = say("wait.silent", members=("m1", "m2"))
    assert in_words(silent, "en") == "m1, m2 do not answer; stopping one more member could lose the quorum"
    assert in_words(silent, "zh") == "m1、m2 无响应；再停一个成员就可能丢失 quorum"
    assert in_words(say("wait.silent", members=("m1",)), "en").startswith("m1 does not answer")
    assert in_words((Texts("one", "一"), "m1"), "zh") == "一、m1"
    assert in_words(None, "zh") == ""


def everything() -> Iterator[Finding]:
    for case in CASES:
        yield from everything_found(case.found)
    for view in (degraded(), quorum_lost()):
        yield from find(view)


def test_findings_read_whole_in_both_languages() -> None:
    """No brace, no gap, no missing piece; Chinese findings are not English with a Chinese title."""
    for one in dict.fromkeys(everything()):
        for language in LANGUAGES:
            told = one.told(language)
            for text in (told.summary, told.next_step, told.detail, told.blocked, *told.evidence):
                assert "{" not in text, one
                assert text == text.strip(), (one.code, text)
                assert "  " not in text or any("  " in str(value) for value in one.evidence), (one.code, text)
            assert told.summary
            assert told.next_step
        chinese = one.told("zh")
        assert CHINESE.search(chinese.summary), one.code
        assert CHINESE.search(chinese.next_step) or COMMAND.search(chinese.next_step), one.code
