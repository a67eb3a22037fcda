"""etcd's config file has types and sections of its own: what is written there means what the flags meant."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from etcdops.errors import UsageError
from etcdops.node import go_text
from etcdops.rendering import config_file
from etcdops.rendering.config_file import config_lines, typed
from etcdops.rendering.flags import FLAGS, Version
from etcdops.rendering.outputs import config_file as rendered
from etcdops.services.etcd_settings import Placed, Start, settle
from tests.rendering.members import config


def test_values_have_the_types_that_etcd_wants() -> None:
    """Numbers and switches are no strings, times are nanoseconds, some are lists, certificates are in sections."""
    member = config(
        {
            "tls": {},
            "engine": {"version": "3.6"},
            "settings": {
                "quota-backend-bytes": "0x100",
                "pre-vote": "F",
                "corrupt-check-time": "1h0.5s",
                "cipher-suites": "A,B",
                "cors": "http://a,http://b",
                "socket-reuse-port": True,
                "peer-cert-allowed-cn": "x",
                "discovery-insecure-transport": "false",
                "auto-compaction-retention": "1",
            },
        }
    )
    read = yaml.safe_load(rendered(member).content)
    assert read["quota-backend-bytes"] == 256
    assert read["pre-vote"] is False
    assert read["corrupt-check-time"] == 3_600_500_000_000
    assert read["cipher-suites"] == ["A", "B"]
    assert read["cors"] == "http://a,http://b"
    assert read["auto-compaction-retention"] == "1"
    assert read["socket-options"] == {"reuse-port": True}
    assert read["client-transport-security"]["cert-file"] == "/etc/etcd/pki/server.crt"
    assert read["peer-transport-security"]["client-cert-auth"] is True
    assert read["peer-transport-security"]["allowed-cn"] == ["x"]
    assert read["discovery-config"] == {"client": {"secure": {"insecure-transport": False}}}
    assert not [key for key in read if key.endswith("cert-file")]


@given(st.dictionaries(st.sampled_from(["h", "m", "s", "ms", "us", "µs", "ns"]), st.integers(0, 10**4), min_size=1))
def test_times_are_read_as_go_reads_them(parts: dict[str, int]) -> None:
    """The node's reading of Go's durations is held to Go's; this one to the node's."""
    text = "".join(f"{number}{unit}" for unit, number in parts.items())
    assert typed("corrupt-check-time", text) == pytest.approx(go_text.parse_duration(text) * 1e9, rel=1e-15, abs=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("snapshot-count", "many"), ("pre-vote", "yes"), ("corrupt-check-time", "5"), ("corrupt-check-time", "")],
)
def test_a_value_of_another_type_is_refused(name: str, value: str) -> None:
    """etcd would not start with it."""
    with pytest.raises(UsageError, match=f"{name}='{value}' is not"):
        typed(name, value)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("3.4", "client-crl-file"),
        ("3.7", "raft-read-timeout"),
        ("3.5.13", "peer-cert-allowed-cn"),
        ("3.5", "experimental-peer-skip-client-san-verification"),
    ],
)
def test_a_flag_without_a_place_in_the_file_is_refused(version: str, name: str) -> None:
    """etcd would pass over a key that it does not know."""
    with pytest.raises(UsageError, match=f"{name} cannot be written in the config file of etcd {version}"):
        config_lines({name: "x"}, Version.parse(version))


def test_every_name_is_a_flag() -> None:
    """A misspelt one would never be found otherwise."""
    assert set(config_file.DEFAULTS) <= set(FLAGS)
    tables = (config_file.NUMBERS, config_file.DURATIONS, config_file.LISTS)
    made = {name for name in config_file.PLACES if name not in FLAGS}
    assert set().union(*tables) <= set(FLAGS)
    assert made == set()


def test_what_is_written_is_what_the_services_read() -> None:
    """The reader of config files on hosts finds the flags again."""
    member = config({"tls": {}, "settings": {"quota-backend-bytes": 5, "snapshot-catchup-entries": 7}})
    file = rendered(member)
    found = settle(Start("etcd", [Placed(f"--config-file={file.path}", "")], {}), file.content)
    read = {name: setting.value for name, setting in found.flags.items() if name != "config-file"}
    unsaid = {name: default for name, (default, needed) in config_file.DEFAULTS.items() if not needed}
    assert read == {**unsaid, **member.flags}
    assert found.ignored == ()


@pytest.mark.parametrize(("version", "mode"), [("3.4", "periodic"), ("3.5", "periodic"), ("3.6", None)])
def test_defaults_that_only_flags_have_are_written_down(version: str, mode: str | None) -> None:
    """A retention without a mode ends a member; 3.4 without a word has no gateway. 3.6 knows its defaults."""
    lines = {line.key: line.value for line in config_lines({"auto-compaction-retention": "1h"}, Version.parse(version))}
    assert lines.get("auto-compaction-mode") == mode
    assert lines.get("enable-grpc-gateway") == (True if mode else None)
    asked = config_lines({"auto-compaction-mode": "revision"}, Version.parse(version))
    assert [line.value for line in asked if line.key == "auto-compaction-mode"] == ["revision"]
