"""Which changes of version are allowed."""

from __future__ import annotations

import pytest

from etcdops.playbooks.rolling.versions import VersionChange, meets, objections, order, running_version, warnings
from etcdops.rendering.flags import Version


def change(running: str, target: str, *more: str) -> VersionChange:
    versions = (running, *(more or (running, running)))
    return VersionChange({f"m{n}": running_version(v) for n, v in enumerate(versions, 1)}, Version.parse(target))


@pytest.mark.parametrize(
    ("running", "target"),
    [
        ("3.4.23", "3.5.16"),
        ("3.4.23", "3.4.37"),
        ("3.5.0", "3.5.16"),
        ("3.5.32", "3.6.14"),
        ("3.6.11", "3.7.1"),
        ("3.5.16", "3.5.9"),
        ("3.5.16", "3.5"),
    ],
)
def test_one_minor_version_up_and_any_patch_of_the_same_is_allowed(running: str, target: str) -> None:
    """etcd's upgrade guides."""
    assert objections(change(running, target), {}) == []


@pytest.mark.parametrize(
    ("running", "target", "code"),
    [
        ("3.4.23", "3.6.14", "minor-skipped"),
        ("3.5.32", "3.7.1", "minor-skipped"),
        ("3.5.16", "3.4.23", "downgrade"),
        ("3.6.14", "3.5.32", "downgrade"),
        ("3.4.23", "3.5.1", "inconsistent-version"),
        ("3.5.16", "3.6.14", "too-old-for-3.6"),
        ("3.6.10", "3.7.1", "too-old-for-3.7"),
    ],
)
def test_other_changes_are_refused_by_name(running: str, target: str, code: str) -> None:
    """dr-traps: versions that lose writes, zombie members, minors two apart, no way down."""
    found = objections(change(running, target), {})
    assert {one.id for one in found} == {code}
    assert all(one.what and one.why and one.instead for one in found)


def test_down_to_3_4_is_refused_because_only_3_6_learned_to_lower_its_version() -> None:
    """And 3.6's own way down is named, but not taken by itself."""
    [first, *_] = objections(change("3.5.16", "3.4.37"), {})
    assert "only in 3.6" in first.why
    [first, *_] = objections(change("3.6.14", "3.5.33"), {})
    assert "downgrade validate 3.5" in first.instead


def test_v2_in_use_forbids_3_6_only() -> None:
    """3.5 has the v2 API still."""
    settings = {"enable-v2": "true"}
    assert objections(change("3.4.23", "3.5.16"), settings) == []
    assert [one.id for one in objections(change("3.5.32", "3.6.14"), settings)] == ["v2-in-use"]


def test_a_change_that_was_cut_off_half_way_can_go_on() -> None:
    """Members of two minors are what an upgrade has in the middle."""
    mixed = change("3.4.23", "3.5.16", "3.5.16", "3.4.23")
    assert mixed.changes
    assert objections(mixed, {}) == []


def test_what_is_to_be_known_is_said() -> None:
    """Allowed, and yet not without a word."""
    assert "could lose writes" in warnings(change("3.5.1", "3.5.16"))[0]
    assert any("advises 3.5.32" in line for line in warnings(change("3.5.27", "3.6.14")))
    assert any("goes down to 3.5.9" in line for line in warnings(change("3.5.16", "3.5.9")))
    assert any("the way back is the snapshot" in line for line in warnings(change("3.4.23", "3.5.16")))
    assert warnings(change("3.5.16", "3.5")) == []


def test_what_a_member_says_it_runs_is_read_with_its_additions() -> None:
    """Release candidates, and builds of distributions."""
    assert running_version("3.6.0-rc.1").line == (3, 6)
    assert running_version("3.5.16+git").patch == 16
    assert meets(running_version("3.5.16"), Version.parse("3.5"))
    assert not meets(running_version("3.5.16"), Version.parse("3.5.17"))


def test_the_leader_comes_last() -> None:
    """Its restart is the only one that costs a change of leader."""
    assert order(["m1", "m2", "m3"], "m1") == ["m2", "m3", "m1"]
    assert order(["m1", "m2"], "m3") == ["m1", "m2"]
