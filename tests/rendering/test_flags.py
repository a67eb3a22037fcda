"""Settings are fitted to a version: nothing is rendered that it would refuse, nothing is dropped in silence."""

from __future__ import annotations

import subprocess

import pytest

from etcdops.errors import UsageError
from etcdops.rendering.flags import FLAGS, Version, fit, variable
from tests.support.real_etcd import find_etcd


def fitted(version: str, **settings: str) -> tuple[dict[str, str], list[str]]:
    found = fit({name.replace("_", "-"): value for name, value in settings.items()}, Version.parse(version))
    return found.flags, found.notes


@pytest.mark.parametrize(
    ("version", "asked", "flags"),
    [
        ("3.4", {"snapshot-count": "1"}, {"snapshot-count": "1"}),
        ("3.5.16", {"corrupt-check-time": "1h"}, {"experimental-corrupt-check-time": "1h"}),
        ("3.6", {"experimental-corrupt-check-time": "1h"}, {"experimental-corrupt-check-time": "1h"}),
        ("3.7", {"experimental-corrupt-check-time": "1h"}, {"corrupt-check-time": "1h"}),
        ("3.6", {"experimental-initial-corrupt-check": "true"}, {"feature-gates": "InitialCorruptCheck=true"}),
        ("3.5", {"feature-gates": "InitialCorruptCheck=true"}, {"experimental-initial-corrupt-check": "true"}),
        (
            "3.7",
            {"feature-gates": "B=false", "experimental-enable-lease-checkpoint": "true"},
            {"feature-gates": "B=false,LeaseCheckpoint=true"},
        ),
        ("3.4", {"log-output": "stderr"}, {"log-output": "stderr"}),
        ("3.5", {"log-output": "stderr"}, {"log-outputs": "stderr"}),
        ("3.5.4", {"max-concurrent-streams": "9"}, {}),
        ("3.5.5", {"max-concurrent-streams": "9"}, {"max-concurrent-streams": "9"}),
        ("3.6", {"enable-v2": "true"}, {}),
    ],
)
def test_a_setting_gets_the_name_its_version_has(version: str, asked: dict[str, str], flags: dict[str, str]) -> None:
    """Renamed, turned into a feature gate and back, or left out."""
    found = fit(asked, Version.parse(version))
    assert found.flags == flags
    assert bool(found.notes) == (found.flags != asked)


def test_what_is_left_out_says_why() -> None:
    """With the versions that have it."""
    _, notes = fitted("3.5.4", max_concurrent_streams="9")
    assert notes == [
        "max-concurrent-streams=9 is left out: etcd 3.5.4 does not take it; it is there from 3.4.20, 3.5.5, 3.6.0,"
        " 3.7.0 on"
    ]


def test_what_no_version_knows_is_an_error() -> None:
    """With the nearest name."""
    with pytest.raises(UsageError, match="no version of etcd has a flag snapshot-cuont") as caught:
        fitted("3.5", snapshot_cuont="1")
    assert caught.value.hint == "did you mean snapshot-count?"
    with pytest.raises(UsageError, match="two settings are the same flag"):
        fitted("3.7", corrupt_check_time="1h", experimental_corrupt_check_time="2h")
    with pytest.raises(UsageError, match="is no gate"):
        fitted("3.7", feature_gates="A")


@pytest.mark.parametrize("wrong", ["3", "3.x", "2.3", "4.0.1", "3.5.16-rc.0", ""])
def test_a_version_we_do_not_know_is_refused(wrong: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(UsageError):
        Version.parse(wrong)


def test_variables_are_named_as_etcd_names_them() -> None:
    """`FlagToEnv`."""
    assert variable("initial-advertise-peer-urls") == "ETCD_INITIAL_ADVERTISE_PEER_URLS"


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("minor", ["3.4", "3.5"])
def test_the_table_is_what_real_etcd_takes(minor: str) -> None:
    """Every flag of the table is parsed by the binary, and every one outside is refused."""
    found = find_etcd(minor)
    if found is None:
        pytest.skip(f"needs etcd {minor}: make etcd")
    version = Version.parse(found.version)
    # an unknown flag ends the process before anything else is looked at, and --help after all flags were parsed
    wrong = []
    for name in FLAGS:
        line = [str(found.etcd), f"--{name}=x", "--help"]
        done = subprocess.run(line, capture_output=True, text=True, timeout=20, check=False)
        if ("flag provided but not defined" in done.stdout + done.stderr) == version.has(name):
            wrong.append(name)
    assert wrong == []
