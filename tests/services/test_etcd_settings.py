"""What etcd makes of flags, variables and its config file."""

from __future__ import annotations

import json

import pytest

from etcdops.rendering.config_file import DURATIONS, NUMBERS, PLACES, config_lines
from etcdops.rendering.flags import SWITCHES, Version
from etcdops.services.etcd_settings import Placed, Start, config_file, settle
from etcdops.services.port import EffectiveConfig, Origin, ProcessConfig, Setting


def start(*arguments: str, **env: str) -> Start:
    return Start(
        "etcd", [Placed(word, "unit:1") for word in arguments], {n: Placed(v, "env:2") for n, v in env.items()}
    )


def values(config: ProcessConfig) -> dict[str, str]:
    return {name: setting.value for name, setting in config.flags.items()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--name=a", "--data-dir", "/d"], {"name": "a", "data-dir": "/d"}),
        (["-name", "a", "-data-dir=/d"], {"name": "a", "data-dir": "/d"}),
        (["--pre-vote", "--name", "a"], {"pre-vote": "true", "name": "a"}),
        (["--pre-vote=F", "--enable-v2=1"], {"pre-vote": "false", "enable-v2": "true"}),
        (["--name=a", "--name=b"], {"name": "b"}),
        (["--initial-cluster=a=http://h:1,b=http://h:2"], {"initial-cluster": "a=http://h:1,b=http://h:2"}),
        (["--name="], {"name": ""}),
    ],
)
def test_flags_are_read_as_go_reads_them(arguments: list[str], expected: dict[str, str]) -> None:
    """Source: Go's package flag, parseOne."""
    config = settle(start(*arguments), None)
    assert values(config) == expected
    assert config.ignored == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pre-vote", "false", "--name=a"], "false --name=a: no flag"),
        (["--", "--name=a"], "-- --name=a: no flag"),
        (["--name"], "--name: its value is missing"),
    ],
)
def test_a_command_line_that_etcd_refuses_is_named(arguments: list[str], said: str) -> None:
    """The commonest mistake: a switch with its value as the next word."""
    assert said in settle(start(*arguments), None).ignored[0]


def test_a_flag_comes_before_its_variable() -> None:
    """And the variable that has no effect is named, unless it says the same."""
    config = settle(start("--name=a", "--max-wals=5", ETCD_NAME="b", ETCD_MAX_WALS="5", ETCD_DATA_DIR="/d"), None)
    assert config.flags["name"] == Setting("a", Origin.FLAG, "unit:1")
    assert config.flags["data-dir"] == Setting("/d", Origin.VARIABLE, "env:2")
    assert config.ignored == ("env:2: ETCD_NAME=b: the flag --name comes first",)


def test_variables_that_are_empty_or_no_settings_are_not_set() -> None:
    """An empty one is none, to etcd; one that no version knows is a mistake worth a word."""
    config = settle(start(ETCD_NAME="", ETCD_NAEM="a", ETCD_UNSUPPORTED_ARCH="arm64", ETCDCTL_API="3", HOME="/"), None)
    assert values(config) == {}
    assert config.ignored == ("env:2: ETCD_NAEM: no version of etcd has a flag naem",)


FILE = b"""\
name: m1
data-dir: "/var/lib/my etcd"
listen-client-urls: http://a:1,http://b:1
log-outputs: [stderr, /var/log/etcd]
pre-vote: yes
quota-backend-bytes: 8589934592
client-transport-security:
  cert-file: /c
  client-cert-auth: true
  allowed-hostname: h
peer-transport-security:
  trusted-ca-file: /p
  allowed-cn: cn
naem: m1
"""


def test_a_config_file_replaces_all_flags_and_variables() -> None:
    """Sections are flags by other names; lists, numbers and yes are written as on a command line."""
    asked = start("--name=flag", "--config-file", "etc/etcd.yml", ETCD_MAX_WALS="5")
    file = config_file(asked)
    assert file is not None
    assert file.text == "etc/etcd.yml"
    config = settle(asked, FILE)
    assert values(config) == {
        "config-file": "etc/etcd.yml",
        "name": "m1",
        "data-dir": "/var/lib/my etcd",
        "listen-client-urls": "http://a:1,http://b:1",
        "log-outputs": "stderr,/var/log/etcd",
        "pre-vote": "true",
        "quota-backend-bytes": "8589934592",
        "cert-file": "/c",
        "client-cert-auth": "true",
        "client-cert-allowed-hostname": "h",
        "peer-trusted-ca-file": "/p",
        "peer-cert-allowed-cn": "cn",
    }
    assert config.flags["cert-file"] == Setting("/c", Origin.FILE, "etc/etcd.yml:8")
    assert config.ignored == (
        "etc/etcd.yml:14: naem: no version of etcd has such a setting",
        "unit:1: name=flag: the config file etc/etcd.yml replaces all flags and variables",
        "env:2: max-wals=5: the config file etc/etcd.yml replaces all flags and variables",
    )


def test_a_config_file_may_be_named_by_its_variable() -> None:
    """The flag comes first."""
    assert config_file(start(ETCD_CONFIG_FILE="/b")) == Placed("/b", "env:2")
    assert config_file(start("--config-file=/a", ETCD_CONFIG_FILE="/b")) == Placed("/a", "unit:1")
    assert config_file(start("--name=a")) is None


@pytest.mark.parametrize("content", [None, b"a: [", b"\0"])
def test_a_config_file_that_cannot_be_read_is_said(content: bytes | None) -> None:
    """Never taken for an empty one without a word."""
    config = settle(start("--config-file=/x"), content)
    assert values(config) == {"config-file": "/x"}
    assert "etcd does not start with" in config.ignored[0]


def test_what_a_restart_would_change() -> None:
    """Values, not where they stand; and a config file that was written since."""
    running = ProcessConfig("etcd", {"name": Setting("a", Origin.FLAG), "max-wals": Setting("5", Origin.VARIABLE)})
    following = ProcessConfig("etcd", {"name": Setting("a", Origin.VARIABLE), "pre-vote": Setting("true", Origin.FLAG)})
    assert EffectiveConfig(running, following).pending == ("max-wals", "pre-vote")
    assert EffectiveConfig(None, following).pending == ()
    file = {"config-file": Setting("/x", Origin.FLAG)}
    assert EffectiveConfig(ProcessConfig("etcd", file, outdated=True), ProcessConfig("etcd", file)).pending == (
        "config-file",
    )


DISCOVERY = """\
name: m1
discovery-config:
  token: drawn
  client:
    endpoints: [http://d1:2379, http://d2:2379]
    dial-timeout: 2500000000
    secure: {cacert: /ca.pem, insecure-transport: false}
    auth: {username: me, password: hunter2}
socket-options: {reuse-port: true}
experimental-watch-progress-notify-interval: 5000000000
peer-transport-security: {allowed-cn: members, auto-tls: true, colour: red}
"""


def test_sections_in_sections_of_the_config_file() -> None:
    """Source: etcd server/etcdserver/api/v3discovery/discovery.go, DiscoveryConfig; clientv3.ConfigSpec.

    Durations are nanoseconds there, and words as flags.
    """
    config = settle(start("--config-file=/c.yml"), DISCOVERY.encode())
    assert values(config) == {
        "config-file": "/c.yml",
        "name": "m1",
        "discovery-token": "drawn",
        "discovery-endpoints": "http://d1:2379,http://d2:2379",
        "discovery-dial-timeout": "2500ms",
        "discovery-cacert": "/ca.pem",
        "discovery-insecure-transport": "false",
        "discovery-user": "me",
        "discovery-password": "hunter2",
        "socket-reuse-port": "true",
        "experimental-watch-progress-notify-interval": "5s",
        "peer-cert-allowed-cn": "members",
        "peer-auto-tls": "true",
    }
    assert config.flags["discovery-user"].where == "/c.yml:8"
    assert config.ignored == ("/c.yml:11: peer-transport-security.colour: no version of etcd has such a setting",)


def test_what_is_rendered_reads_back() -> None:
    """Every flag that has a place of its own in the file, and one duration, list and number each."""
    flags = {name: "1" if name in NUMBERS else "1s" if name in DURATIONS else "a" for name in PLACES}
    flags |= {name: "true" for name in PLACES if name in SWITCHES}
    flags |= {"corrupt-check-time": "4m0s", "log-outputs": "stderr,/var/log/e", "max-wals": "7"}
    version = Version(3, 6)
    lines = config_lines({name: value for name, value in flags.items() if version.has(name)}, version)
    text = "".join(
        "  " * one.depth + f"{one.key}:" + (f" {json.dumps(one.value)}" if one.value is not None else "") + "\n"
        for one in lines
    )
    found = values(settle(start("--config-file=/c.yml"), text.encode()))
    expected = {name: value for name, value in flags.items() if version.has(name)} | {"corrupt-check-time": "240s"}
    assert {name: found[name] for name in expected} == expected
