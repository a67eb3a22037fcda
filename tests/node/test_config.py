"""A member's settings: flags, variables, file, precedence, and every refusal in etcd's words."""

from __future__ import annotations

import dataclasses
import json
import logging
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from etcdops.errors import StartRefused, UsageError
from etcdops.node.config import Config, PrintAndExit, load_config
from etcdops.node.config.help_text import field_strings
from etcdops.node.config.known_flags import IGNORED_FLAGS, KNOWN_FLAGS
from etcdops.node.config.settings import flags_by_field
from etcdops.node.config.sources import FLAGS
from etcdops.node.tls.info import TlsInfo
from etcdops.node.version import SERVER_VERSION
from tests.support.certificates import Authority
from tests.support.real_etcd import find_etcd

NONE: Mapping[str, str] = {}


def refusal(argv: list[str], environ: Mapping[str, str] = NONE) -> StartRefused:
    with pytest.raises(StartRefused) as refused:
        load_config(argv, environ)
    assert refused.value.hint, "every refusal says what to do"
    return refused.value


# Flags


def test_nothing_set_is_etcds_default() -> None:
    """The defaults operators know, and the data dir named after the member."""
    config = load_config([], {})
    assert config.name == "default"
    assert config.data_dir == "default.etcd"
    assert config.listen_client_urls == ("http://localhost:2379",)
    assert config.initial_cluster == "default=http://localhost:2380"
    assert (config.heartbeat_interval_ms, config.election_timeout_ms, config.election_ticks) == (100, 1000, 10)
    assert config.max_request_bytes == 1_572_864
    assert config.receive_bytes_max == 2_097_152
    assert config.request_timeout_s == 7.0
    assert config.is_new_cluster
    assert config.unsupported_set == ()


@pytest.mark.parametrize(
    "argv",
    [
        ["--heartbeat-interval=50", "--name=a", "--pre-vote=false"],
        ["-heartbeat-interval=50", "-name=a", "-pre-vote=false"],
        ["--heartbeat-interval", "50", "-name", "a", "-pre-vote=F"],
        ["--heartbeat-interval", "0x32", "--name", "b", "--name", "a", "--pre-vote=0", "--"],
    ],
)
def test_flags_in_all_their_spellings(argv: list[str]) -> None:
    """One dash or two, = or a space, the last of several wins. Go flag package."""
    config = load_config(argv, {})
    assert (config.heartbeat_interval_ms, config.name, config.pre_vote) == (50, "a", False)


def test_a_switch_takes_no_word() -> None:
    """`--force-new-cluster true` is the switch and a stray word."""
    assert load_config(["--force-new-cluster"], {}).force_new_cluster
    with pytest.raises(UsageError) as refused:
        load_config(["--force-new-cluster", "true"], {})
    assert refused.value.message == "'true' is not a valid flag"


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (
            ["--hartbeat-interval=1"],
            "flag provided but not defined: -hartbeat-interval",
            "did you mean --heartbeat-interval?",
        ),
        (["--datadir", "x"], "flag provided but not defined: -datadir", "did you mean --data-dir?"),
        (["--zzz"], "flag provided but not defined: -zzz", "--help lists all flags"),
        (["--name"], "flag needs an argument: -name", "write --name=VALUE"),
        (["---name=x"], "bad flag syntax: ---name=x", ""),
        (["--=x"], "bad flag syntax: --=x", ""),
        (["stray"], "'stray' is not a valid flag", ""),
        (["--heartbeat-interval=soon"], 'invalid value "soon" for flag -heartbeat-interval: parse error', ""),
        (["--heartbeat-interval=-1"], 'invalid value "-1" for flag -heartbeat-interval: parse error', ""),
        (
            ["--max-concurrent-streams=4294967296"],
            'invalid value "4294967296" for flag -max-concurrent-streams: value out of range',
            "",
        ),
        (["--pre-vote=maybe"], 'invalid boolean value "maybe" for -pre-vote: parse error', ""),
        (["--grpc-keepalive-timeout=20"], 'invalid value "20" for flag -grpc-keepalive-timeout: parse error', ""),
        (["--initial-cluster-state=old"], 'invalid value "old" for flag -initial-cluster-state: invalid value', ""),
        (
            ["--listen-client-urls=localhost:1"],
            'invalid value "localhost:1" for flag -listen-client-urls: '
            "URL scheme must be http, https, unix, or unixs: localhost:1",
            "",
        ),
    ],
)
def test_flags_that_cannot_be_read(argv: list[str], message: str, hint: str) -> None:
    """The words of Go's flag package; unknown ones name the nearest."""
    with pytest.raises(UsageError) as refused:
        load_config(argv, {})
    assert refused.value.message == message
    assert hint in refused.value.hint
    assert refused.value.hint


def test_flags_of_etcd_0_4_are_read_over(caplog: pytest.LogCaptureFixture) -> None:
    """etcd warns and goes on."""
    assert load_config(["--v", "--vv=true", "--name=a"], {}).name == "a"
    assert "flag is no longer supported - ignoring" in caplog.text


def test_version_is_what_tools_parse() -> None:
    """`etcd --version | head -1`."""
    with pytest.raises(PrintAndExit) as asked:
        load_config(["--version"], {})
    lines = asked.value.text.splitlines()
    assert lines[0] == f"etcd Version: {SERVER_VERSION}"
    assert [line.partition(":")[0] for line in lines] == ["etcd Version", "Git SHA", "Go Version", "Go OS/Arch"]
    assert load_config(["--version=false"], {}).name == "default"


def test_help_shows_every_flag_with_default_and_meaning() -> None:
    """Grouped as etcd's; written once, in the strings under the fields."""
    for word in ("--help", "-h", "-help"):
        with pytest.raises(PrintAndExit) as asked:
            load_config([word], {})
    text = asked.value.text
    for flag in flags_by_field().values():
        assert (f"  --{flag.name} '" in text) == flag.has_effect
        assert f"--{flag.name}" in text
    for name in KNOWN_FLAGS:
        assert f"--{name}" in text
    assert "  --heartbeat-interval '100'\n    Milliseconds between two heartbeats" in text
    assert "  --grpc-keepalive-interval '2h0m0s'" in text
    assert text.index("\nMember:") < text.index("\nClustering:") < text.index("\nUnsafe feature:")


def test_a_setting_without_effect_is_named_at_start() -> None:
    """Read and checked, but nobody should believe in it; at its default it is not worth a word."""
    config = load_config(["--experimental-initial-corrupt-check", "--enable-pprof=false", "--metrics=extensive"], {})
    assert config.unsupported_set == ("experimental-initial-corrupt-check", "metrics")


def test_every_field_says_what_it_means() -> None:
    """STYLE: a string under each field."""
    documented = field_strings()
    assert {item.name for item in dataclasses.fields(Config)} == {name for name, text in documented.items() if text}


# Variables


def test_variables_fill_in_what_no_flag_sets(caplog: pytest.LogCaptureFixture) -> None:
    """ETCD_* by flag name; etcd tells which it used."""
    with caplog.at_level(logging.INFO):
        config = load_config(["--name=a"], {"ETCD_DATA_DIR": "/d", "ETCD_PRE_VOTE": "false", "HOME": "/x"})
    assert (config.name, config.data_dir, config.pre_vote) == ("a", "/d", False)
    assert caplog.text.count("recognized and used environment variable") == 2


def test_an_empty_variable_is_not_set() -> None:
    """os.Getenv cannot tell the difference."""
    assert load_config([], {"ETCD_NAME": ""}).name == "default"


def test_a_variable_and_its_flag_conflict() -> None:
    """etcd refuses to guess. pkg/flags/flag.go, verifyEnv."""
    error = refusal(["--name=a"], {"ETCD_NAME": "b"})
    assert error.message == (
        "conflicting environment variable is shadowed by corresponding command-line flag "
        "(either unset environment variable or disable flag))"
    )
    assert "ETCD_NAME" in error.cause


def test_a_variable_nobody_reads_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A warning, as from etcd, because it need not be meant for us; secrets are not shown."""
    load_config(
        [], {"ETCD_INITIAL_CLUSTER_FILE": "5", "ETCD_ROOT_PASSWORD": "hush", "ETCDCTL_API": "3", "ETCD_NAM": ""}
    )
    shown = [record.__dict__["zap_fields"] for record in caplog.records if "unrecognized" in record.message]
    assert shown == [
        {"environment-variable": "ETCD_INITIAL_CLUSTER_FILE=5", "did-you-mean": "ETCD_INITIAL_CLUSTER"},
        {"environment-variable": "ETCD_ROOT_PASSWORD=***"},
        {"environment-variable": "ETCD_NAM="},
    ]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("ETCD_DATADIR", "ETCD_DATA_DIR"),
        ("ETCD_INITIAL_CLUSTERS", "ETCD_INITIAL_CLUSTER"),
        ("ETCD_HEARTBEAT_INTERVALL", "ETCD_HEARTBEAT_INTERVAL"),
        ("ETCD_LISTEN_CLIENT_URL", "ETCD_LISTEN_CLIENT_URLS"),
        ("ETCD_NAMES", "ETCD_NAME"),
        ("ETCD_PREVOTE", "ETCD_PRE_VOTE"),
    ],
)
def test_a_misspelt_variable_is_an_error(misspelt: str, meant: str) -> None:
    """As a misspelt flag is: without effect it could start an empty member in the wrong place."""
    error = refusal([], {misspelt: "hush"})
    assert error.message == f"unrecognized environment variable: {misspelt}"
    assert error.hint == f"did you mean {meant}? Otherwise unset {misspelt}"
    assert "hush" not in " ".join(error.lines())


def test_what_images_and_platforms_set_starts_a_member(caplog: pytest.LogCaptureFixture) -> None:
    """Images' own variables, and those that Kubernetes makes for a service called etcd or etcd-client."""
    names = "UNSUPPORTED_ARCH RELEASE CONF_FILE BASE_DIR ON_K8S START_FROM_SNAPSHOT DISASTER_RECOVERY CLUSTER_DOMAIN"
    names += " SERVICE_HOST SERVICE_PORT SERVICE_PORT_CLIENT PORT PORT_2379_TCP PORT_2379_TCP_ADDR PORT_2379_TCP_PROTO"
    names += " CLIENT_SERVICE_HOST CLIENT_SERVICE_PORT CLIENT_PORT_2380_TCP_PORT SNAPSHOTS_DIR STS_NAME DAEMON_USER"
    environ = {f"ETCD_{name}": "1" for name in names.split()}
    load_config([], environ)
    assert [record.message for record in caplog.records].count("unrecognized environment variable") == len(environ)


def test_a_variable_that_cannot_be_read() -> None:
    """etcd names variable and value."""
    error = refusal([], {"ETCD_HEARTBEAT_INTERVAL": "soon"})
    assert error.message == 'invalid value "soon" for ETCD_HEARTBEAT_INTERVAL: parse error'


def test_etcd_version_is_no_setting(caplog: pytest.LogCaptureFixture) -> None:
    """Images set it; etcd unsets it with a warning."""
    load_config([], {"ETCD_VERSION": "v3.5"})
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "cannot set special environment variable",
        "'data-dir' was empty; using default",
    ]


def test_secrets_in_variables_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What etcd would print in full."""
    with caplog.at_level(logging.INFO):
        load_config([], {"ETCD_DISCOVERY_PASSWORD": "hush"})
    assert "hush" not in repr([record.__dict__ for record in caplog.records])


# The file


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "etcd.yml"
    path.write_text(text)
    return str(path)


def test_a_file_is_everything(tmp_path: Path) -> None:
    """With --config-file etcd reads neither flags nor variables."""
    path = write(
        tmp_path,
        """
        name: from-file
        data-dir: /var/lib/etcd
        heartbeat-interval: 50
        pre-vote: false
        listen-client-urls: http://10.0.0.1:2379,http://127.0.0.1:2379
        advertise-client-urls: http://10.0.0.1:2379
        log-outputs: [stderr, /var/log/etcd.log]
        auto-compaction-retention: "5m"
        grpc-keepalive-interval: 60000000000
        grpc-keepalive-timeout: 10s
        experimental-snapshot-catch-up-entries: 77
        initial-cluster:
        """,
    )
    config = load_config(
        ["--config-file", path, "--name=flag", "--force-new-cluster"], {"ETCD_HEARTBEAT_INTERVAL": "9"}
    )
    assert config.name == "from-file"
    assert config.config_file == path
    assert config.heartbeat_interval_ms == 50
    assert not config.pre_vote
    assert not config.force_new_cluster, "flags are ignored, also this one"
    assert config.listen_client_urls == ("http://10.0.0.1:2379", "http://127.0.0.1:2379")
    assert config.log_outputs == ("/var/log/etcd.log", "stderr")
    assert config.auto_compaction() == 300.0
    assert (config.grpc_keepalive_interval_s, config.grpc_keepalive_timeout_s) == (60.0, 10.0)
    assert config.snapshot_catchup_entries == 77
    assert load_config([], {"ETCD_CONFIG_FILE": path}) == config


def test_a_file_that_listens_elsewhere_keeps_the_default_advertised_url(tmp_path: Path) -> None:
    """Only flags and variables demand advertise-client-urls; etcd configFromCmdLine."""
    config = load_config(["--config-file", write(tmp_path, "listen-client-urls: http://127.0.0.1:1\n")], {})
    assert config.advertise_client_urls == ("http://localhost:2379",)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("nmae: x\n", "{path}:1: nmae: unknown setting", "did you mean name?"),
        ("a: 1\n", "{path}:1: a: unknown setting", "--help"),
        ("\nname: x\nname: y\n", "{path}:3: name is already set in line 2", "one of the two"),
        (
            "heartbeat-interval: soon\n",
            "{path}:1: heartbeat-interval: want a whole number, got text",
            "takes a whole number",
        ),
        (
            "heartbeat-interval: -1\n",
            "{path}:1: heartbeat-interval: want a number from 0 to 18446744073709551615, got -1",
            "",
        ),
        ("pre-vote: 'no'\n", "{path}:1: pre-vote: want true or false, got text", ""),
        ("name: [a]\n", "{path}:1: name: want text, got a list", ""),
        (
            "grpc-keepalive-interval: true\n",
            "{path}:1: grpc-keepalive-interval: want nanoseconds or text like 10s, got true/false",
            "",
        ),
        (
            "listen-peer-urls: 10.0.0.1:1\n",
            '{path}:1: listen-peer-urls: parse "10.0.0.1:1": first path segment in URL cannot contain colon',
            "",
        ),
        ("- a\n", "{path}: want `flag-name: value` lines", ""),
        ("name: [\n", "{path} is not YAML: line 2: ", "mend"),
        (
            "client-transport-security:\n  cert-fiel: x\n",
            "{path}:1: client-transport-security.cert-fiel: unknown setting",
            "did you mean cert-file?",
        ),
        ("client-transport-security: x\n", "{path}:1: client-transport-security: want settings indented below it", ""),
        ("config-file: x\n", "{path}:1: config-file: unknown setting", ""),
        ("initial-cluster-state: old\n", 'unexpected clusterState "old"', ""),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, message: str, hint: str) -> None:
    """Each names file, line and key."""
    path = write(tmp_path, text)
    error = refusal(["--config-file", path])
    assert error.message.startswith(message.format(path=path))
    assert hint in error.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """And how it was asked for."""
    error = refusal(["--config-file", str(tmp_path / "none.yml")])
    assert error.message == f"cannot read the config file {tmp_path / 'none.yml'}: No such file or directory"


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """As in etcd."""
    config = load_config(["--config-file", write(tmp_path, "# nothing\n")], {})
    assert dataclasses.replace(config, config_file="") == load_config([], {})


# Known, supported or not


def test_every_flag_of_etcd_3_4_to_3_7_is_known() -> None:
    """A real member's command line starts a node. The list is etcd's own, see the file."""
    listed = Path(__file__).with_name("etcd_flags.txt").read_text().split()
    missing = [name for name in listed if name not in FLAGS and name not in IGNORED_FLAGS and name != "version"]
    assert missing == []


def test_known_flags_without_effect_are_named(caplog: pytest.LogCaptureFixture) -> None:
    """Once, at start, and on the config; defaults are not worth a word."""
    config = load_config(["--max-wals=9", "--memory-mlock", "--bcrypt-cost=10", "--enable-pprof"], {})
    assert config.unsupported_set == ("enable-pprof", "max-wals", "memory-mlock")
    record = next(record for record in caplog.records if "have no effect" in record.message)
    assert record.__dict__["zap_fields"] == {"flags": ("enable-pprof", "max-wals", "memory-mlock")}


def test_security_sections_of_a_file_are_known(tmp_path: Path) -> None:
    """They set what flags set; what concerns no member is named."""
    text = """
        client-transport-security: {cert-file: a, key-file: ak, client-cert-auth: true, allowed-cn: [x]}
        peer-transport-security: {cert-file: b, key-file: bk, trusted-ca-file: c, skip-client-san-verification: true}
        socket-options: {reuse-port: true}
        """
    config = load_config(["--config-file", write(tmp_path, text)], {})
    assert config.unsupported_set == ("socket-options",)
    assert config.client_tls == TlsInfo(
        cert_file="a", key_file="ak", client_cert_auth=True, allowed_cns=("x",), min_version="TLS1.2"
    )
    assert config.peer_tls == TlsInfo(
        cert_file="b", key_file="bk", trusted_ca_file="c", skip_client_san_verify=True, min_version="TLS1.2"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--discovery=http://x"], "--discovery is not supported by the node"),
        (["--discovery-srv=example.com"], "--discovery-srv is not supported by the node"),
        (["--discovery-token=x"], "--discovery-token is not supported by the node"),
        (["--proxy=on"], "--proxy is not supported by the node"),
    ],
)
def test_what_decides_the_cluster_is_not_read_over(argv: list[str], message: str) -> None:
    """A member that ignored discovery would start a cluster of its own."""
    assert refusal(argv).message == message


def test_newer_spellings_mean_the_same(caplog: pytest.LogCaptureFixture) -> None:
    """3.6 dropped experimental- from many names."""
    config = load_config(["--compaction-batch-limit=7", "--watch-progress-notify-interval=5s"], {})
    assert (config.compaction_batch_limit, config.watch_progress_notify_interval_s) == (7, 5.0)
    error = refusal(["--compaction-batch-limit=7", "--experimental-compaction-batch-limit=8"])
    assert error.message == (
        "cannot set --experimental-compaction-batch-limit and --compaction-batch-limit at the same time, "
        "please use --compaction-batch-limit only"
    )


def test_feature_gates_are_the_flags_they_replaced() -> None:
    """etcd 3.6 server/features."""
    config = load_config(["--feature-gates=InitialCorruptCheck=true,TxnModeWriteWithSharedBuffer=false"], {})
    assert config.initial_corrupt_check
    assert refusal(["--feature-gates=InitialCorruptChek=true"]).hint == "did you mean InitialCorruptCheck?"
    assert refusal(["--feature-gates=InitialCorruptCheck=maybe"]).message.startswith("invalid value of InitialCorrupt")


# Rules

_PEERS = ["--listen-peer-urls=http://127.0.0.1:0"]
_PEM = "pair.pem"
"""In the folder where a real etcd is started: a certificate and its key, which it reads before it looks further."""
_PEERS_WITH_TLS = ["--listen-peer-urls=https://127.0.0.1:1", f"--peer-cert-file={_PEM}", f"--peer-key-file={_PEM}"]

RULES: dict[str, tuple[list[str], str]] = {
    "heartbeat 0": (["--heartbeat-interval=0"], "--heartbeat-interval must be >0 (set to 0ms)"),
    "election 0": (["--election-timeout=0"], "--election-timeout must be >0 (set to 0ms)"),
    "election too short": (
        ["--election-timeout=499"],
        "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]",
    ),
    "election too long": (
        ["--election-timeout=50001"],
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
    ),
    "no advertised client URL": (
        ["--listen-client-urls=http://127.0.0.1:1"],
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    "listening on a name": (
        ["--listen-peer-urls=http://example.com:2380"],
        "expected IP in URL for binding (http://example.com:2380)",
    ),
    "advertising nothing": (
        ["--initial-advertise-peer-urls=http://:2380"],
        '--initial-advertise-peer-urls "http://:2380" must be "host:port" (unexpected empty host (http://:2380))',
    ),
    "advertising nothing to clients": (
        ["--advertise-client-urls=http://:2379"],
        '--advertise-client-urls "http://:2379" must be "host:port" (unexpected empty host (http://:2379))',
    ),
    "unknown compaction": (["--auto-compaction-mode=daily"], 'unknown auto-compaction-mode "daily"'),
    "persisted checkpoints alone": (
        ["--experimental-enable-lease-checkpoint-persist"],
        "setting experimental-enable-lease-checkpoint-persist requires experimental-enable-lease-checkpoint",
    ),
    "hash check without time": (
        ["--experimental-compact-hash-check-time=0"],
        "--experimental-compact-hash-check-time must be >0 (set to 0s)",
    ),
    "capnslog": (["--logger=capnslog"], "--logger=capnslog is removed in v3.5"),
    "unknown logger": (["--logger=syslog"], 'unknown logger option "syslog"'),
    "default among outputs": (["--log-outputs=default,stdout"], 'multi logoutput for "default" is not supported yet'),
    "two ways to bootstrap": (
        ["--initial-cluster=default=http://localhost:2380", "--discovery=http://127.0.0.1:1/x"],
        "multiple discovery or bootstrap flags are set. "
        'Choose one of "initial-cluster", "discovery" or "discovery-srv"',
    ),
    "unknown TLS version": (
        ["--tls-min-version=TLS1.1"],
        'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)',
    ),
    "TLS versions the wrong way round": (
        ["--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"],
        "min version (TLS1.3) is greater than max version (TLS1.2)",
    ),
    "suites for TLS 1.3": (
        ["--tls-min-version=TLS1.3", "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"],
        "cipher suites cannot be configured when only TLS1.3 is enabled",
    ),
    "unknown suite": (["--cipher-suites=TLS_ECDHE"], 'unexpected TLS cipher suite "TLS_ECDHE"'),
    "peers on https without a certificate": (
        ["--listen-peer-urls=https://127.0.0.1:1"],
        "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented",
    ),
    "clients on https without a certificate": (
        [*_PEERS, "--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://127.0.0.1:1"],
        "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme",
    ),
    "half a pair": (
        ["--listen-peer-urls=https://127.0.0.1:1", "--peer-cert-file=c"],
        "KeyFile and CertFile must both be present[key: , cert: c]",
    ),
    "half a pair for dials": (
        [*_PEERS_WITH_TLS, "--peer-client-key-file=k"],
        "ClientKeyFile and ClientCertFile must both be present or both absent: key: k, cert: ]",
    ),
    "names and hosts": (
        [*_PEERS_WITH_TLS, "--peer-cert-allowed-cn=a,b", "--peer-cert-allowed-hostname=c"],
        'AllowedCNs and AllowedHostnames are mutually exclusive (cns=["a" "b"], hostnames=["c"])',
    ),
}
"""What is refused -> flags and etcd's words; the last test asks a real etcd."""


@pytest.mark.parametrize("rule", RULES)
def test_rules_are_etcds(rule: str) -> None:
    """etcd server/embed/config.go, Config.Validate."""
    argv, message = RULES[rule]
    assert refusal(argv).message == message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--auto-compaction-retention=-1"], 'error parsing CompactionRetention: time: missing unit in duration "-1"'),
        (["--auto-compaction-retention=-1h"], "--auto-compaction-retention must be >=0 (set to -1h)"),
        (["--auto-compaction-retention=x"], 'error parsing CompactionRetention: time: invalid duration "x"'),
        (
            ["--auto-compaction-mode=revision", "--auto-compaction-retention=5m"],
            "--auto-compaction-retention 5m is a duration, but --auto-compaction-mode is revision",
        ),
        (["--log-level=loud"], 'unknown level "loud"'),
        (["--log-format=xml"], "unknown log format: xml, supported values json, console"),
        (["--max-txn-ops=0"], "--max-txn-ops must be >0 (set to 0)"),
        (["--grpc-keepalive-interval=-1s"], "--grpc-keepalive-interval must be >=0 (set to -1s)"),
        (
            ["--listen-peer-urls=unix://127.0.0.1:2380"],
            "--listen-peer-urls unix://127.0.0.1:2380: this scheme is not supported by the node",
        ),
    ],
)
def test_rules_of_our_own(argv: list[str], message: str) -> None:
    """What etcd would take and then fail on, or read over."""
    assert refusal(argv).message == message


@pytest.mark.parametrize(
    ("mode", "retention", "kept"),
    [("periodic", "0", 0), ("periodic", "5", 18_000), ("periodic", "5m", 300), ("revision", "1000", 1000), ("", "", 0)],
)
def test_compaction_retention_in_both_modes(mode: str, retention: str, kept: float) -> None:
    """etcd server/embed/etcd.go, parseCompactionRetention."""
    assert Config(auto_compaction_mode=mode, auto_compaction_retention=retention).auto_compaction() == kept


# Bootstrap


def test_a_name_alone_makes_a_cluster_of_that_name() -> None:
    """etcd UpdateDefaultClusterFromName."""
    config = load_config(["--name=abc"], {})
    assert config.initial_cluster == "abc=http://localhost:2380"
    assert config.data_dir == "abc.etcd"
    config.verify_bootstrap()


def test_a_wildcard_listener_advertises_this_machine() -> None:
    """Only when nothing else was said."""
    config = Config(
        name="m1", listen_peer_urls=("http://0.0.0.0:12380",), listen_client_urls=("http://0.0.0.0:12379",)
    ).with_defaults(lambda: "10.1.2.3")
    assert config.initial_advertise_peer_urls == ("http://10.1.2.3:12380",)
    assert config.advertise_client_urls == ("http://10.1.2.3:12379",)
    assert config.initial_cluster == "m1=http://10.1.2.3:12380"
    told = Config(advertise_client_urls=("http://x:1",), listen_client_urls=("http://0.0.0.0:1",))
    assert told.with_defaults(lambda: "10.1.2.3").advertise_client_urls == ("http://x:1",)
    assert Config().with_defaults(lambda: pytest.fail("not needed")).data_dir == "default.etcd"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--name=a", "--initial-cluster=b=http://localhost:2380"],
            'couldn\'t find local name "a" in the initial cluster configuration',
        ),
        (
            ["--name=a", "--initial-cluster=a=http://10.0.0.1:2380"],
            "--initial-cluster has a=http://10.0.0.1:2380 but missing from "
            "--initial-advertise-peer-urls=http://localhost:2380 "
            '(resolved urls: "http://localhost:2380" != "http://10.0.0.1:2380")',
        ),
        (
            [
                "--name=a",
                "--initial-cluster=a=http://10.0.0.1:2380",
                "--initial-advertise-peer-urls=http://10.0.0.1:2380,http://10.0.0.2:2380",
            ],
            "--initial-advertise-peer-urls has http://10.0.0.2:2380 but missing from "
            "--initial-cluster=a=http://10.0.0.1:2380,a=http://10.0.0.2:2380",
        ),
        (
            ["--name=a", "--initial-cluster=a=http://localhost:2380,b=http://localhost:2380"],
            "initial cluster a=http://localhost:2380,b=http://localhost:2380 has duplicate url",
        ),
        (
            ["--name=a", "--initial-cluster=a=localhost:2380"],
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: localhost:2380",
        ),
    ],
)
def test_a_cluster_that_cannot_start(argv: list[str], message: str) -> None:
    """etcd server/config/config.go, VerifyBootstrap."""
    config = load_config(argv, {})
    with pytest.raises(StartRefused) as refused:
        config.verify_bootstrap(resolve=lambda host: pytest.fail(f"{host} needs no resolving"))
    assert refused.value.message == message
    assert refused.value.hint


def test_names_are_resolved_before_they_are_called_different() -> None:
    """A host name in one flag and its address in the other are the same member."""
    config = load_config(
        ["--name=a", "--initial-cluster=a=http://10.0.0.7:1", "--initial-advertise-peer-urls=http://a.example:1"], {}
    )
    config.verify_bootstrap(resolve=lambda host: "10.0.0.7")
    with pytest.raises(StartRefused, match=r"--initial-cluster has a=http://10\.0\.0\.7:1 but missing"):
        config.verify_bootstrap(resolve=lambda host: "10.0.0.8")


def test_joining_needs_the_local_name_only() -> None:
    """The cluster already knows the peer URLs. etcd VerifyJoinExisting."""
    config = load_config(
        ["--name=a", "--initial-cluster-state=existing", "--initial-cluster=a=http://10.0.0.1:1,b=http://10.0.0.2:1"],
        {},
    )
    config.verify_join_existing()
    assert not config.is_new_cluster
    with pytest.raises(StartRefused, match="couldn't find local name"):
        dataclasses.replace(config, name="c").verify_join_existing()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_a_real_etcd_refuses_in_the_same_words(rule: str, tmp_path: Path) -> None:
    """The texts above are etcd 3.5's, not our memory of them."""
    binaries = find_etcd("3.5")
    if binaries is None:
        pytest.skip("etcd 3.5 is not in .cache/etcd (make etcd fetches it)")
    argv, message = RULES[rule]
    pair = Authority(tmp_path / "pki").issue("member")
    (tmp_path / _PEM).write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    done = subprocess.run(
        [str(binaries.etcd), "--data-dir", str(tmp_path / "data"), *argv],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=tmp_path,
        env={},
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    # the latter for what it meets when it opens its ports
    refused = [line.get("error") for line in lines if line["msg"] in ("failed to verify flags", "discovery failed")]
    assert message in refused
