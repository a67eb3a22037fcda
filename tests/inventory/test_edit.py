"""A cluster's token is written where it stands, and nothing else changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from etcdops.errors import UsageError
from etcdops.inventory.edit import token_edit
from etcdops.inventory.load import load_inventory

HOSTS = "hosts: {h1: {address: 10.0.0.1}, h2: {address: 10.0.0.2}}\n"
TOKEN = "prod-0c4f"
COMMENTED = f"""\
# ours
{HOSTS}clusters:
  prod:   # the big one

    # what it runs
    engine: &runs {{version: "3.5"}}   # not 3.6
    TOKENmembers:
      - host: h1   # first
  other: {{members: [{{host: h2}}], token: "x", engine: *runs}}
"""


def edited(folder: Path, text: str, *, cluster: str = "prod", token: str = TOKEN) -> str:
    path = folder / "i.yaml"
    path.write_bytes(text.encode())
    edit = token_edit([path], cluster, token)
    edit.write("before")
    made = load_inventory([path])
    assert made.clusters[cluster].token == token
    return path.read_bytes().decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("token: old  # since\n    ", f"token: {TOKEN}  # since\n    "),
        ("token: 'o:ld'\n    ", f"token: {TOKEN}\n    "),
        ('"token"  :   "old"\n    ', f'"token"  :   {TOKEN}\n    '),
        ('token: ""\n    ', f"token: {TOKEN}\n    "),
    ],
)
def test_a_token_that_is_there_is_replaced_in_its_place(tmp_path: Path, before: str, after: str) -> None:
    """Comments, order, quotes and spaces of everything else stay, byte for byte."""
    text = COMMENTED.replace("TOKEN", before)
    assert edited(tmp_path, text) == text.replace(before, after)


def test_one_that_is_not_there_becomes_the_first_line_of_its_cluster(tmp_path: Path) -> None:
    """In the file's own indent; also where its lines end as on Windows."""
    text = COMMENTED.replace("TOKEN", "")
    expected = text.replace("big one\n", f"big one\n    token: {TOKEN}\n")
    assert edited(tmp_path, text) == expected
    assert edited(tmp_path, text.replace("\n", "\r\n")) == expected.replace("\n", "\r\n")


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("{members: [{host: h1}]}", f"{{token: {TOKEN}, members: [{{host: h1}}]}}"),
        ("&p {members: [{host: h1}]}", f"&p {{token: {TOKEN}, members: [{{host: h1}}]}}"),
        ("{members: [{host: h1}], token: a}", f"{{members: [{{host: h1}}], token: {TOKEN}}}"),
        ("{\n members: [{host: h1}]}", f"{{token: {TOKEN}, \n members: [{{host: h1}}]}}"),
    ],
)
def test_a_cluster_in_braces_stays_in_braces(tmp_path: Path, cluster: str, expected: str) -> None:
    """As short inventories are written."""
    text = f"{HOSTS}clusters:\n  prod: %s\n"
    assert edited(tmp_path, text % cluster) == text % expected


def test_a_token_that_yaml_would_take_for_something_else_is_quoted(tmp_path: Path) -> None:
    """`on` is true, and a colon begins a mapping."""
    text = f"{HOSTS}clusters:\n  prod:\n    members: [{{host: h1}}]\n"
    for token in ("on", "a: b", "0x10", 'say "no"', "3.5"):
        edited(tmp_path, text, token=token)


def test_defaults_and_merges_are_left_to_those_who_share_them(tmp_path: Path) -> None:
    """The cluster gets a token of its own, above them."""
    defaults = f"{HOSTS}defaults: {{cluster: {{token: shared}}}}\nclusters:\n  prod:\n    members: [{{host: h1}}]\n"
    assert f"  prod:\n    token: {TOKEN}\n" in edited(tmp_path, defaults)
    merged = f"{HOSTS}clusters:\n  other: &o\n    members: [{{host: h2}}]\n    token: shared\n"
    merged += "  prod:\n    <<: *o\n    members: [{host: h1}]\n"
    assert edited(tmp_path, merged) == merged.replace("  prod:\n", f"  prod:\n    token: {TOKEN}\n")


@pytest.mark.parametrize(
    "clusters",
    [
        "x: &x {members: [{host: h1}]}\n  prod: *x",
        "x: {members: [{host: h2}], token: &t a}\n  prod: {members: [{host: h1}], token: *t}",
        "prod:\n    members: [{host: h1}]\n    token: |-\n      a",
        "prod: &p\n    members: [{host: h1}]\n    data_dir: /a\n  x:\n    <<: *p\n    members: [{host: h2}]",
    ],
)
def test_what_stands_somewhere_else_is_left_to_a_person(tmp_path: Path, clusters: str) -> None:
    """Nothing is written; the hint is the line to write."""
    text = f"{HOSTS}clusters:\n  {clusters}\n"
    (tmp_path / "i.yaml").write_text(text)
    with pytest.raises(UsageError) as refused:
        token_edit([tmp_path / "i.yaml"], "prod", TOKEN)
    assert f"clusters.prod.token: {TOKEN}" in refused.value.hint or "inventory has" in refused.value.message
    assert (tmp_path / "i.yaml").read_text() == text


def test_the_file_is_replaced_as_a_whole_and_kept_as_it_was(tmp_path: Path) -> None:
    """Through a link, with its mode; only the one of several files that describes the cluster; shown as a diff."""
    (tmp_path / "real").mkdir()
    described = f"clusters:\n  prod:\n    members: [{{host: h1}}]\n"  # noqa: F541  # braces
    (tmp_path / "real/prod.yaml").write_text(described)
    (tmp_path / "real/prod.yaml").chmod(0o640)
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/hosts.yaml").write_text(HOSTS)
    (tmp_path / "inventory/prod.yaml").symlink_to("../real/prod.yaml")
    edit = token_edit([tmp_path / "inventory"], "prod", TOKEN)
    assert edit.diff.endswith(
        f"@@ -1,3 +1,4 @@\n clusters:\n   prod:\n+    token: {TOKEN}\n     members: [{{host: h1}}]\n"
    )
    kept = edit.write("before-r-1")
    assert kept == tmp_path / "real/prod.yaml.before-r-1"
    assert kept.read_text() == described
    assert (tmp_path / "inventory/prod.yaml").is_symlink()
    assert os.stat(tmp_path / "real/prod.yaml").st_mode & 0o777 == 0o640
    again = token_edit([tmp_path / "inventory"], "prod", TOKEN)
    assert (again.diff, again.write("before-r-1")) == ("", None)
    with pytest.raises(UsageError, match="is written already"):
        edit.write("before-r-2")
    (tmp_path / "real/prod.yaml").write_text(f"# mine now\n{described}")
    with pytest.raises(UsageError, match="was changed meanwhile"):
        edit.write("before-r-2")
    assert sorted(path.name for path in (tmp_path / "real").iterdir()) == ["prod.yaml", "prod.yaml.before-r-1"]
