"""Every setting a member of the node has, as one frozen value.

A field's string says what it means, its unit and limits; `--help` prints the same string, so it is written once.
Durations are seconds (`_s`), except the two raft intervals that etcd counts in milliseconds (`_ms`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from etcdops.node.config import checks
from etcdops.node.config.kinds import (
    BOOL,
    CORS,
    DURATION,
    INT64,
    ORDERED_WORDS,
    TEXT,
    UINT,
    UINT32,
    URLS,
    WORDS,
    Kind,
    choice,
)
from etcdops.node.config.urls import Resolve, parse_urls_by_name
from etcdops.node.tls.info import TlsInfo

T = TypeVar("T")

DEFAULT_NAME = "default"
DEFAULT_PEER_URLS = ("http://localhost:2380",)
DEFAULT_CLIENT_URLS = ("http://localhost:2379",)
DEFAULT_INITIAL_CLUSTER = "default=http://localhost:2380"

MEMBER = "Member"
CLUSTERING = "Clustering"
SECURITY = "Security"
AUTH = "Auth"
MONITORING = "Profiling and Monitoring"
LOGGING = "Logging"
TRACING = "Distributed tracing"
PROXY = "v2 Proxy"
EXPERIMENTAL = "Experimental feature"
UNSAFE = "Unsafe feature"


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting is spelled: `--name`, ETCD_NAME, and the file's `name:`; aliases are other releases' spellings."""

    name: str
    kind: Kind[object]
    group: str
    aliases: tuple[str, ...] = ()
    file_only: tuple[str, ...] = ()  # spellings that only a config file may use
    has_effect: bool = True  # else it is read and checked, and named at start when it asks for more than the default


def setting(
    name: str,
    kind: Kind[T],
    default: T,
    group: str,
    *,
    aliases: tuple[str, ...] = (),
    file_only: tuple[str, ...] = (),
    has_effect: bool = True,
) -> T:
    """A field of Config that a flag, a variable and a file key can set."""
    flag = Flag(name, kind, group, aliases, file_only, has_effect)
    return field(default=default, metadata={"flag": flag})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A member's settings. Made by `load_config`; tests may build it directly and call `validate()`."""

    name: str = setting("name", TEXT, DEFAULT_NAME, MEMBER)
    """Name of this member for people; unique within the cluster."""

    data_dir: str = setting("data-dir", TEXT, "", MEMBER)
    """Folder of this member's data. Default: <name>.etcd in the working directory."""

    wal_dir: str = setting("wal-dir", TEXT, "", MEMBER)
    """Folder of the raft log, to give it a disk of its own. Default: <data-dir>/member."""

    snapshot_count: int = setting("snapshot-count", UINT, 10_000, MEMBER)
    """Applied entries between two snapshots of the raft log. 10000 as in etcd 3.6 (100000 before)."""

    heartbeat_interval_ms: int = setting("heartbeat-interval", UINT, 100, MEMBER)
    """Milliseconds between two heartbeats of a leader; one raft tick. At least 1."""

    election_timeout_ms: int = setting("election-timeout", UINT, 1000, MEMBER)
    """Milliseconds without a leader before an election; at least 5 heartbeats, at most 50000. Equal on all members."""

    initial_election_tick_advance: bool = setting("initial-election-tick-advance", BOOL, True, MEMBER)
    """Shorten the first election wait after a start."""

    listen_peer_urls: tuple[str, ...] = setting("listen-peer-urls", URLS, DEFAULT_PEER_URLS, MEMBER)
    """Addresses to accept other members on: IP addresses or localhost, with a port."""

    listen_client_urls: tuple[str, ...] = setting("listen-client-urls", URLS, DEFAULT_CLIENT_URLS, MEMBER)
    """Addresses to accept clients on, gRPC and HTTP: IP addresses or localhost, with a port."""

    quota_backend_bytes: int = setting("quota-backend-bytes", INT64, 0, MEMBER)
    """Bytes the store may take before writes are refused. 0: the default of 2 GiB; negative: no limit."""

    backend_batch_interval_s: float = setting("backend-batch-interval", DURATION, 0.0, MEMBER)
    """Longest time between two commits of the store. 0: the default of 100ms."""

    backend_batch_limit: int = setting("backend-batch-limit", INT64, 0, MEMBER)
    """Operations after which the store commits. 0: the default of 10000."""

    max_txn_ops: int = setting("max-txn-ops", UINT, 128, MEMBER)
    """Operations one transaction may have."""

    max_request_bytes: int = setting("max-request-bytes", UINT, 1_572_864, MEMBER)
    """Bytes one proposal may have. The gRPC receive limit is 512 KiB more."""

    max_concurrent_streams: int = setting("max-concurrent-streams", UINT32, 10_000, MEMBER)
    """Calls one connection may have open. Finite by default, so that no client takes all memory (etcd: 2^32-1)."""

    grpc_keepalive_min_time_s: float = setting("grpc-keepalive-min-time", DURATION, 5.0, MEMBER)
    """Clients that ping more often than this are disconnected (too_many_pings)."""

    grpc_keepalive_interval_s: float = setting("grpc-keepalive-interval", DURATION, 7200.0, MEMBER)
    """Silence after which a client is pinged. 0: never."""

    grpc_keepalive_timeout_s: float = setting("grpc-keepalive-timeout", DURATION, 20.0, MEMBER)
    """How long a pinged client may take to answer before it is disconnected. 0: no limit."""

    max_learners: int = setting("max-learners", INT64, 1, MEMBER)
    """Learners the cluster may have at a time."""

    initial_advertise_peer_urls: tuple[str, ...] = setting(
        "initial-advertise-peer-urls", URLS, DEFAULT_PEER_URLS, CLUSTERING
    )
    """This member's peer URLs as the others dial them. Must match its entry in initial-cluster."""

    initial_cluster: str = setting("initial-cluster", TEXT, DEFAULT_INITIAL_CLUSTER, CLUSTERING)
    """Every member of a new cluster: name=peerURL,name=peerURL. Read only by a member without data."""

    initial_cluster_state: str = setting("initial-cluster-state", choice("new", "existing"), "new", CLUSTERING)
    """new: start a cluster. existing: join a running one that has this member added. Read only without data."""

    initial_cluster_token: str = setting("initial-cluster-token", TEXT, "etcd-cluster", CLUSTERING)
    """Part of the cluster's identity: give each cluster its own, or members of two may talk to each other."""

    advertise_client_urls: tuple[str, ...] = setting("advertise-client-urls", URLS, DEFAULT_CLIENT_URLS, CLUSTERING)
    """This member's client URLs as published to clients. Required when listen-client-urls is set."""

    strict_reconfig_check: bool = setting("strict-reconfig-check", BOOL, True, CLUSTERING)
    """Refuse membership changes that would lose the quorum."""

    pre_vote: bool = setting("pre-vote", BOOL, True, CLUSTERING)
    """Ask the others before raising the term, so that a returning member does not disturb the leader."""

    auto_compaction_mode: str = setting("auto-compaction-mode", TEXT, "periodic", CLUSTERING)
    """What auto-compaction-retention counts: periodic (time) or revision."""

    auto_compaction_retention: str = setting("auto-compaction-retention", TEXT, "0", CLUSTERING)
    """History to keep: hours or a duration (periodic), or revisions. 0: no automatic compaction."""

    cert_file: str = setting("cert-file", TEXT, "", SECURITY)
    """Certificate of the client port, PEM. This file, its key and the authority are followed: no restart is needed."""

    key_file: str = setting("key-file", TEXT, "", SECURITY)
    """Key of that certificate, without a password."""

    client_cert_auth: bool = setting("client-cert-auth", BOOL, False, SECURITY)
    """Let in only clients with a certificate of a trusted authority."""

    client_cert_file: str = setting("client-cert-file", TEXT, "", SECURITY)
    """Certificate for connections of the member to itself, which the node does not need; it is only checked."""

    client_key_file: str = setting("client-key-file", TEXT, "", SECURITY)
    """Key of that certificate."""

    client_crl_file: str = setting("client-crl-file", TEXT, "", SECURITY)
    """List of revoked clients' certificates, PEM or DER; followed too."""

    client_cert_allowed_hostname: tuple[str, ...] = setting("client-cert-allowed-hostname", ORDERED_WORDS, (), SECURITY)
    """Let in only clients whose certificate is for one of these names or addresses."""

    client_cert_allowed_cn: tuple[str, ...] = setting("client-cert-allowed-cn", ORDERED_WORDS, (), SECURITY)
    """Let in only clients with one of these common names. etcd takes it only from a config file (allowed-cn)."""

    trusted_ca_file: str = setting("trusted-ca-file", TEXT, "", SECURITY)
    """Authorities of clients, PEM. Naming a file is enough to ask every client for a certificate."""

    auto_tls: bool = setting("auto-tls", BOOL, False, SECURITY)
    """Without --cert-file: a certificate for the client port is made at the first start, signed by nobody."""

    peer_cert_file: str = setting("peer-cert-file", TEXT, "", SECURITY)
    """Certificate of the peer port and of dials to other members, PEM."""

    peer_key_file: str = setting("peer-key-file", TEXT, "", SECURITY)
    """Key of that certificate, without a password."""

    peer_client_cert_auth: bool = setting("peer-client-cert-auth", BOOL, False, SECURITY)
    """Let in only members with a certificate of a trusted authority."""

    peer_trusted_ca_file: str = setting("peer-trusted-ca-file", TEXT, "", SECURITY)
    """Authorities of the other members, PEM. Naming a file is enough to ask all of them for a certificate."""

    peer_cert_allowed_cn: tuple[str, ...] = setting("peer-cert-allowed-cn", ORDERED_WORDS, (), SECURITY)
    """Talk only with members that have one of these common names, whoever of the two dials."""

    peer_cert_allowed_hostname: tuple[str, ...] = setting("peer-cert-allowed-hostname", ORDERED_WORDS, (), SECURITY)
    """Talk only with members whose certificate is for one of these names or addresses."""

    peer_auto_tls: bool = setting("peer-auto-tls", BOOL, False, SECURITY)
    """Without --peer-cert-file: a certificate is made at the first start; members then believe whoever answers."""

    peer_client_cert_file: str = setting("peer-client-cert-file", TEXT, "", SECURITY)
    """Certificate for dials to other members, when it is not --peer-cert-file."""

    peer_client_key_file: str = setting("peer-client-key-file", TEXT, "", SECURITY)
    """Key of that certificate."""

    peer_crl_file: str = setting("peer-crl-file", TEXT, "", SECURITY)
    """List of revoked members' certificates, PEM or DER; followed too."""

    peer_skip_client_san_verification: bool = setting(
        "experimental-peer-skip-client-san-verification",
        BOOL,
        False,
        SECURITY,
        aliases=("peer-skip-client-san-verification",),
    )
    """Let members dial from addresses that their certificates do not name."""

    self_signed_cert_validity: int = setting("self-signed-cert-validity", UINT, 1, SECURITY)
    """Years for which --auto-tls and --peer-auto-tls make certificates."""

    cipher_suites: tuple[str, ...] = setting("cipher-suites", ORDERED_WORDS, (), SECURITY)
    """Suites for TLS 1.2 by Go's names, on both ports; empty: OpenSSL's choice. TLS 1.3 has its own."""

    tls_min_version: str = setting("tls-min-version", TEXT, "TLS1.2", SECURITY)
    """TLS1.2 or TLS1.3."""

    tls_max_version: str = setting("tls-max-version", TEXT, "", SECURITY)
    """TLS1.2 or TLS1.3; empty: the newest there is."""

    cors: tuple[str, ...] = setting("cors", CORS, ("*",), SECURITY)
    """Origins that browsers may call from; * is every origin. Without effect until there is a JSON gateway."""

    host_whitelist: tuple[str, ...] = setting("host-whitelist", WORDS, ("*",), SECURITY)
    """Host headers accepted on connections without TLS; * is any."""

    enable_pprof: bool = setting("enable-pprof", BOOL, False, MONITORING, has_effect=False)
    """Accepted for etcd's sake: the node has no Go profiles to show."""

    metrics: str = setting("metrics", TEXT, "basic", MONITORING, has_effect=False)
    """basic, or extensive for per-method latency histograms, which the node does not have."""

    listen_metrics_urls: tuple[str, ...] = setting("listen-metrics-urls", URLS, (), MONITORING)
    """More addresses that answer /metrics and /health only."""

    logger: str = setting("logger", TEXT, "zap", LOGGING)
    """Only zap: one JSON object a line."""

    log_outputs: tuple[str, ...] = setting("log-outputs", WORDS, ("default",), LOGGING, aliases=("log-output",))
    """Where the log goes: default and stderr, stdout, /dev/null, or file paths; several separated by commas."""

    log_level: str = setting("log-level", TEXT, "info", LOGGING)
    """Least level that is written: debug, info, warn, error, panic or fatal."""

    log_format: str = setting("log-format", TEXT, "json", LOGGING)
    """json, or console for people."""

    initial_corrupt_check: bool = setting(
        "experimental-initial-corrupt-check", BOOL, False, EXPERIMENTAL, has_effect=False
    )
    """Compare the store with the other members' before serving."""

    corrupt_check_time_s: float = setting(
        "experimental-corrupt-check-time",
        DURATION,
        0.0,
        EXPERIMENTAL,
        aliases=("corrupt-check-time",),
        has_effect=False,
    )
    """Time between two comparisons of all members' stores by the leader. 0: never."""

    compact_hash_check_enabled: bool = setting(
        "experimental-compact-hash-check-enabled", BOOL, False, EXPERIMENTAL, has_effect=False
    )
    """Let the leader compare the members' hashes at each compaction."""

    compact_hash_check_time_s: float = setting(
        "experimental-compact-hash-check-time",
        DURATION,
        60.0,
        EXPERIMENTAL,
        aliases=("compact-hash-check-time",),
        has_effect=False,
    )
    """Time between two such comparisons; more than 0."""

    enable_lease_checkpoint: bool = setting(
        "experimental-enable-lease-checkpoint", BOOL, False, EXPERIMENTAL, has_effect=False
    )
    """Share leases' remaining time with all members, so that a new leader does not start them anew: always done."""

    enable_lease_checkpoint_persist: bool = setting(
        "experimental-enable-lease-checkpoint-persist", BOOL, False, EXPERIMENTAL, has_effect=False
    )
    """Keep the shared remaining time in the store: always done. Needs lease checkpoints enabled."""

    compaction_batch_limit: int = setting(
        "experimental-compaction-batch-limit", INT64, 1000, EXPERIMENTAL, aliases=("compaction-batch-limit",)
    )
    """Revisions deleted by one step of a compaction. 0: the default of 1000."""

    compaction_sleep_interval_s: float = setting(
        "experimental-compaction-sleep-interval",
        DURATION,
        0.01,
        EXPERIMENTAL,
        aliases=("compaction-sleep-interval",),
    )
    """Pause between two steps of a compaction."""

    watch_progress_notify_interval_s: float = setting(
        "experimental-watch-progress-notify-interval",
        DURATION,
        600.0,
        EXPERIMENTAL,
        aliases=("watch-progress-notify-interval",),
    )
    """Time between two progress notifications of a quiet watch. 0: the default of 10m."""

    warning_apply_duration_s: float = setting(
        "experimental-warning-apply-duration", DURATION, 0.1, EXPERIMENTAL, aliases=("warning-apply-duration",)
    )
    """Applying a request that takes longer is logged as a warning."""

    warning_unary_request_duration_s: float = setting(
        "experimental-warning-unary-request-duration",
        DURATION,
        0.3,
        EXPERIMENTAL,
        aliases=("warning-unary-request-duration",),
        has_effect=False,
    )
    """A call that takes longer is logged as a warning."""

    snapshot_catchup_entries: int = setting(
        "experimental-snapshot-catchup-entries",
        UINT,
        5_000,
        EXPERIMENTAL,
        aliases=("snapshot-catchup-entries",),
        file_only=("experimental-snapshot-catch-up-entries",),
    )
    """Entries kept in the raft log behind a snapshot for slow followers."""

    force_new_cluster: bool = setting("force-new-cluster", BOOL, False, UNSAFE)
    """Drop all other members and start alone with the data there is. For disaster recovery, one start only."""

    unsafe_no_fsync: bool = setting("unsafe-no-fsync", BOOL, False, UNSAFE)
    """Never wait for the disk: fast, and a loss of power loses acknowledged writes."""

    config_file: str = ""
    """The file all settings came from; empty when they came from flags and variables."""

    unsupported_set: tuple[str, ...] = ()
    """Flags and file keys that etcd knows, that were set to more than their default, and that have no effect here."""

    @property
    def election_ticks(self) -> int:
        """The election timeout in heartbeats."""
        return self.election_timeout_ms // self.heartbeat_interval_ms

    @property
    def request_timeout_s(self) -> float:
        """How long a proposal may take. Source: etcd server/config/config.go, ServerConfig.ReqTimeout."""
        return 5.0 + 2 * self.election_ticks * self.heartbeat_interval_ms / 1000

    @property
    def is_new_cluster(self) -> bool:
        """Whether a member without data starts a cluster (else it joins one)."""
        return self.initial_cluster_state == "new"

    @property
    def member_dir(self) -> Path:
        """Where the store lives. Source: etcd server/storage/datadir, ToMemberDir."""
        return Path(self.data_dir) / "member"

    @property
    def wal_path(self) -> Path:
        """Where the raft log lives."""
        return Path(self.wal_dir) if self.wal_dir else self.member_dir

    @property
    def receive_bytes_max(self) -> int:
        """Largest gRPC message accepted. Source: etcd server/etcdserver/api/v3rpc/grpc.go, Server."""
        return self.max_request_bytes + 512 * 1024

    def auto_compaction(self) -> float | int:
        """What to keep: seconds in mode periodic, revisions in mode revision; 0 is off. Raises: StartRefused."""
        return checks.compaction_retention(self.auto_compaction_mode, self.auto_compaction_retention)

    @property
    def client_tls(self) -> TlsInfo:
        """TLS of the client port and of the metrics port."""
        return TlsInfo(
            cert_file=self.cert_file,
            key_file=self.key_file,
            client_cert_file=self.client_cert_file,
            client_key_file=self.client_key_file,
            trusted_ca_file=self.trusted_ca_file,
            client_cert_auth=self.client_cert_auth,
            crl_file=self.client_crl_file,
            allowed_cns=self.client_cert_allowed_cn,
            allowed_hostnames=self.client_cert_allowed_hostname,
            cipher_suites=self.cipher_suites,
            min_version=self.tls_min_version,
            max_version=self.tls_max_version,
        )

    @property
    def peer_tls(self) -> TlsInfo:
        """TLS of the peer port and of dials to other members."""
        return TlsInfo(
            cert_file=self.peer_cert_file,
            key_file=self.peer_key_file,
            client_cert_file=self.peer_client_cert_file,
            client_key_file=self.peer_client_key_file,
            trusted_ca_file=self.peer_trusted_ca_file,
            client_cert_auth=self.peer_client_cert_auth,
            crl_file=self.peer_crl_file,
            allowed_cns=self.peer_cert_allowed_cn,
            allowed_hostnames=self.peer_cert_allowed_hostname,
            skip_client_san_verify=self.peer_skip_client_san_verification,
            cipher_suites=self.cipher_suites,
            min_version=self.tls_min_version,
            max_version=self.tls_max_version,
        )

    def initial_members(self) -> dict[str, tuple[str, ...]]:
        """Peer URLs by member name, from initial-cluster. Raises: StartRefused."""
        try:
            return parse_urls_by_name(self.initial_cluster)
        except ValueError as error:
            raise checks.refused(
                f"error setting up initial cluster: {error}", hint="write it as name=http://host:port,name=http://..."
            ) from error

    def with_defaults(self, default_host: Callable[[], str] | None = None) -> Config:
        """What depends on other settings, filled in as etcd does at start: data dir, initial cluster, advertised host.

        A member that listens on 0.0.0.0 and was told nothing else advertises this machine's address.
        Source: etcd server/embed/config.go, UpdateDefaultClusterFromName.
        """
        host = _detected_host(self, default_host or detect_default_host)
        config = self
        if host and self.initial_advertise_peer_urls == DEFAULT_PEER_URLS and _any_address(self.listen_peer_urls):
            config = replace(config, initial_advertise_peer_urls=(_with_host(self.listen_peer_urls[0], host),))
        if host and self.advertise_client_urls == DEFAULT_CLIENT_URLS and _any_address(self.listen_client_urls):
            config = replace(config, advertise_client_urls=(_with_host(self.listen_client_urls[0], host),))
        if self.name != DEFAULT_NAME and self.initial_cluster == DEFAULT_INITIAL_CLUSTER:
            name = self.name or DEFAULT_NAME
            cluster = ",".join(f"{name}={url}" for url in config.initial_advertise_peer_urls)
            config = replace(config, initial_cluster=cluster)
        return config if self.data_dir else replace(config, data_dir=f"{self.name}.etcd")

    def validate(self) -> None:
        """Refuse what etcd refuses before it looks at any data, in etcd's words.

        Raises: StartRefused. Source: etcd server/embed/config.go, Config.Validate.
        """
        checks.validate(self)

    def verify_bootstrap(self, resolve: Resolve = socket.gethostbyname) -> None:
        """Refuse settings that cannot start a new cluster. Only for a member without data.

        Raises: StartRefused. Source: etcd server/config/config.go, ServerConfig.VerifyBootstrap.
        """
        checks.verify_bootstrap(self, resolve)

    def verify_join_existing(self) -> None:
        """Refuse settings that cannot join a running cluster. Only for a member without data.

        Raises: StartRefused. Source: etcd server/config/config.go, ServerConfig.VerifyJoinExisting.
        """
        checks.verify_join_existing(self)


def flags_by_field() -> dict[str, Flag]:
    """Field name -> its flag, in the order of the class."""
    return {item.name: item.metadata["flag"] for item in fields(Config) if "flag" in item.metadata}


def detect_default_host() -> str:
    """The address this machine would reach the world from; empty without a route. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _detected_host(config: Config, detect: Callable[[], str]) -> str:
    wanted = (config.initial_advertise_peer_urls == DEFAULT_PEER_URLS and _any_address(config.listen_peer_urls)) or (
        config.advertise_client_urls == DEFAULT_CLIENT_URLS and _any_address(config.listen_client_urls)
    )
    return detect() if wanted else ""


def _any_address(urls: tuple[str, ...]) -> bool:
    return bool(urls) and "//0.0.0.0:" in urls[0]


def _with_host(url: str, host: str) -> str:
    # etcd keeps the scheme of the advertised default, which is http
    return f"http://{host}:{url.rpartition(':')[2]}"
