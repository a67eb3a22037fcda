"""The rules a member's settings must meet, with etcd's own words for what breaks them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from etcdops.errors import StartRefused
from etcdops.node import go_text
from etcdops.node.config.urls import (
    Resolve,
    UrlsByName,
    check_bind_urls,
    check_host_urls,
    difference,
    render_urls_by_name,
)
from etcdops.node.tls.info import TlsInfo
from etcdops.node.tls.versions import openssl_ciphers, tls_version
from etcdops.node.zap_log import LEVELS, fields

if TYPE_CHECKING:
    from etcdops.node.config.settings import Config

_logger = logging.getLogger(__name__)

ELECTION_TIMEOUT_MS_MAX = 50_000
"""Source: etcd server/embed/config.go, maxElectionMs."""


def refused(message: str, *, hint: str) -> StartRefused:
    """The error of a setting that cannot be used."""
    return StartRefused(message, hint=hint)


def validate(config: Config) -> None:
    """See Config.validate."""
    _check_logging(config)
    _check_urls(config)
    _check_tls(config)
    _check_intervals(config)
    if config.initial_cluster_state not in ("new", "existing"):
        raise refused(
            f"unexpected clusterState {go_text.quote(config.initial_cluster_state)}",
            hint="set --initial-cluster-state to new or existing",
        )
    if not config.advertise_client_urls:
        raise refused(
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            hint="set --advertise-client-urls to the URLs clients reach this member by",
        )
    config.auto_compaction()
    _check_leases_and_hashes(config)
    _check_sizes(config)


def _check_logging(config: Config) -> None:
    if config.logger == "capnslog":
        raise refused("--logger=capnslog is removed in v3.5", hint="use --logger=zap")
    if config.logger != "zap":
        raise refused(f"unknown logger option {go_text.quote(config.logger)}", hint="use --logger=zap")
    if len(config.log_outputs) > 1 and "default" in config.log_outputs:
        raise refused('multi logoutput for "default" is not supported yet', hint="write stderr instead of default")
    if "systemd/journal" in config.log_outputs:
        raise refused(
            "--log-outputs systemd/journal is not supported",
            hint="use stderr: systemd puts it into the journal",
        )
    if config.log_level not in LEVELS:
        raise refused(f"unknown level {go_text.quote(config.log_level)}", hint=f"one of {', '.join(LEVELS)}")
    if config.log_format not in ("json", "console", ""):
        raise refused(
            f"unknown log format: {config.log_format}, supported values json, console", hint="use --log-format=json"
        )


def _check_urls(config: Config) -> None:
    try:
        check_bind_urls(config.listen_peer_urls)
        check_bind_urls(config.listen_client_urls)
        check_bind_urls(config.listen_metrics_urls)
    except ValueError as error:
        raise refused(str(error), hint="listen on an IP address or localhost; advertise the name") from error
    for flag, urls in (
        ("initial-advertise-peer-urls", config.initial_advertise_peer_urls),
        ("advertise-client-urls", config.advertise_client_urls),
    ):
        try:
            check_host_urls(urls)
        except ValueError as error:
            shown = go_text.quote(",".join(urls))
            raise refused(f'--{flag} {shown} must be "host:port" ({error})', hint=f"name a host in --{flag}") from error
    _check_schemes(config)


def _check_schemes(config: Config) -> None:
    """Unix sockets are not served, and https needs a certificate.

    Sources: etcd server/embed/etcd.go, configureClientListeners and createMetricsListener;
    client/pkg/transport/listener_tls.go, newTLSListener.
    """
    peer, client = config.peer_tls, config.client_tls
    no_peer_tls = peer.empty and not config.peer_auto_tls
    no_client_tls = client.empty and not config.auto_tls
    for flag, urls in (
        ("listen-peer-urls", config.listen_peer_urls),
        ("listen-client-urls", config.listen_client_urls),
        ("listen-metrics-urls", config.listen_metrics_urls),
    ):
        for url in urls:
            if url.startswith("unix"):
                raise refused(
                    f"--{flag} {url}: this scheme is not supported by the node", hint="use http:// or https://"
                )
            if not url.startswith("https:"):
                continue
            host = url.partition("//")[2]
            if flag == "listen-peer-urls" and no_peer_tls:
                raise refused(
                    f"cannot listen on TLS for {host}: KeyFile and CertFile are not presented",
                    hint="give --peer-cert-file and --peer-key-file, or listen on http://",
                )
            if flag == "listen-client-urls" and no_client_tls:
                raise refused(
                    f"TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme",
                    hint="give both, or listen on http://",
                )
            if flag == "listen-metrics-urls" and no_client_tls:
                raise refused(
                    "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url",
                    hint="give both, or serve metrics on http://",
                )


def _check_tls(config: Config) -> None:
    """Sources: etcd server/embed/config.go, Config.Validate; client/pkg/transport/listener.go, TLSInfo.baseConfig."""
    try:
        least, most = tls_version(config.tls_min_version), tls_version(config.tls_max_version)
        openssl_ciphers(config.cipher_suites)
    except ValueError as error:
        raise refused(str(error), hint="correct --tls-min-version, --tls-max-version or --cipher-suites") from error
    if config.tls_max_version and least > most:
        raise refused(
            f"min version ({config.tls_min_version}) is greater than max version ({config.tls_max_version})",
            hint="leave --tls-max-version out",
        )
    if config.tls_min_version == "TLS1.3" and config.cipher_suites:
        raise refused(
            "cipher suites cannot be configured when only TLS1.3 is enabled", hint="leave --cipher-suites out"
        )
    for prefix, info in (("", config.client_tls), ("peer-", config.peer_tls)):
        _check_pairs(prefix, info)
        if info.allowed_cns and info.allowed_hostnames:
            cns, hosts = go_text.quote_list(list(info.allowed_cns)), go_text.quote_list(list(info.allowed_hostnames))
            raise refused(
                f"AllowedCNs and AllowedHostnames are mutually exclusive (cns={cns}, hostnames={hosts})",
                hint="keep one of the two",
            )


def _check_pairs(prefix: str, info: TlsInfo) -> None:
    if not info.empty and not (info.cert_file and info.key_file):
        raise refused(
            f"KeyFile and CertFile must both be present[key: {info.key_file}, cert: {info.cert_file}]",
            hint=f"give --{prefix}cert-file and --{prefix}key-file",
        )
    if bool(info.client_cert_file) != bool(info.client_key_file):
        raise refused(
            "ClientKeyFile and ClientCertFile must both be present or both absent: "
            f"key: {info.client_key_file}, cert: {info.client_cert_file}]",
            hint=f"give --{prefix}client-cert-file and --{prefix}client-key-file, or neither",
        )


def _check_intervals(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval_ms, config.election_timeout_ms
    if heartbeat == 0:
        raise refused("--heartbeat-interval must be >0 (set to 0ms)", hint="100 is etcd's default")
    if election == 0:
        raise refused("--election-timeout must be >0 (set to 0ms)", hint="1000 is etcd's default")
    if 5 * heartbeat > election:
        raise refused(
            f"--election-timeout[{election}ms] should be at least as 5 times as --heartbeat-interval[{heartbeat}ms]",
            hint=f"set --election-timeout to {10 * heartbeat} or more",
        )
    if election > ELECTION_TIMEOUT_MS_MAX:
        raise refused(
            f"--election-timeout[{election}ms] is too long, and should be set less than {ELECTION_TIMEOUT_MS_MAX}ms",
            hint=f"set --election-timeout to {ELECTION_TIMEOUT_MS_MAX} or less",
        )


def compaction_retention(mode: str, retention: str) -> float | int:
    """Seconds (periodic) or revisions (revision) to keep; 0 is off.

    Raises: StartRefused. Negative values are refused: etcd would take them for durations and never compact.
    Source: etcd server/embed/etcd.go, parseCompactionRetention.
    """
    if mode not in ("periodic", "revision", ""):
        raise refused(f"unknown auto-compaction-mode {go_text.quote(mode)}", hint="use periodic or revision")
    text = retention or "0"
    if text.isascii() and text.removeprefix("+").isdigit():
        return int(text) if mode == "revision" else int(text) * 3600.0
    try:
        seconds = go_text.parse_duration(text)
    except ValueError as error:
        raise refused(f"error parsing CompactionRetention: {error}", hint="a number, or a duration like 5m") from error
    if seconds < 0:
        raise refused(f"--auto-compaction-retention must be >=0 (set to {text})", hint="0 turns compaction off")
    if mode == "revision":
        raise refused(
            f"--auto-compaction-retention {text} is a duration, but --auto-compaction-mode is revision",
            hint="give a number of revisions, or set --auto-compaction-mode=periodic",
        )
    return seconds


def _check_leases_and_hashes(config: Config) -> None:
    if config.enable_lease_checkpoint_persist and not config.enable_lease_checkpoint:
        raise refused(
            "setting experimental-enable-lease-checkpoint-persist requires experimental-enable-lease-checkpoint",
            hint="set both",
        )
    if config.enable_lease_checkpoint and not config.enable_lease_checkpoint_persist:
        _logger.warning(
            "Detected that checkpointing is enabled without persistence. "
            "Consider enabling experimental-enable-lease-checkpoint-persist"
        )
    if config.compact_hash_check_time_s <= 0:
        shown = go_text.format_duration(config.compact_hash_check_time_s)
        raise refused(f"--experimental-compact-hash-check-time must be >0 (set to {shown})", hint="1m is the default")


def _check_sizes(config: Config) -> None:
    """Limits etcd leaves open; a value beyond them would only fail later and worse."""
    for flag, value in (
        ("max-txn-ops", config.max_txn_ops),
        ("max-request-bytes", config.max_request_bytes),
        ("max-concurrent-streams", config.max_concurrent_streams),
        ("snapshot-count", config.snapshot_count),
    ):
        if value == 0:
            raise refused(f"--{flag} must be >0 (set to 0)", hint=f"leave --{flag} out for the default")
    for flag, seconds in (
        ("grpc-keepalive-min-time", config.grpc_keepalive_min_time_s),
        ("grpc-keepalive-interval", config.grpc_keepalive_interval_s),
        ("grpc-keepalive-timeout", config.grpc_keepalive_timeout_s),
        ("experimental-compaction-sleep-interval", config.compaction_sleep_interval_s),
        ("experimental-watch-progress-notify-interval", config.watch_progress_notify_interval_s),
        ("experimental-corrupt-check-time", config.corrupt_check_time_s),
    ):
        if seconds < 0:
            shown = go_text.format_duration(seconds)
            raise refused(f"--{flag} must be >=0 (set to {shown})", hint=f"leave --{flag} out for the default")
    if config.max_request_bytes > 10 * 1024 * 1024:
        _logger.warning(
            "exceeded recommended request limit",
            extra=fields(
                **{
                    "max-request-bytes": config.max_request_bytes,
                    "recommended-request-bytes": 10 * 1024 * 1024,
                }
            ),
        )


def verify_bootstrap(config: Config, resolve: Resolve) -> None:
    """See Config.verify_bootstrap."""
    members = config.initial_members()
    _check_local_member(config, members)
    _check_advertised(config, members[config.name], resolve)
    _check_duplicates(members)


def verify_join_existing(config: Config) -> None:
    """See Config.verify_join_existing."""
    members = config.initial_members()
    _check_local_member(config, members)
    _check_duplicates(members)


def _check_local_member(config: Config, members: UrlsByName) -> None:
    if config.name not in members:
        known = ", ".join(sorted(members)) or "nobody"
        raise refused(
            f"couldn't find local name {go_text.quote(config.name)} in the initial cluster configuration",
            hint=f"--initial-cluster names {known}: make --name one of them, or add {config.name}=<peer URL>",
        )


def _check_duplicates(members: UrlsByName) -> None:
    urls = [url for listed in members.values() for url in listed]
    if len(urls) != len(set(urls)):
        raise refused(
            f"initial cluster {render_urls_by_name(members)} has duplicate url",
            hint="every member needs peer URLs of its own in --initial-cluster",
        )


def _check_advertised(config: Config, in_cluster: tuple[str, ...], resolve: Resolve) -> None:
    """Source: etcd server/config/config.go, ServerConfig.advertiseMatchesCluster."""
    advertised = tuple(sorted(config.initial_advertise_peer_urls))
    reason = difference(advertised, in_cluster, resolve)
    if reason is None:
        return
    shown = ",".join(advertised)
    hint = "make --initial-advertise-peer-urls and this member's URLs in --initial-cluster the same"
    missing = ",".join(f"{config.name}={url}" for url in in_cluster if url not in advertised)
    if missing:
        raise refused(
            f"--initial-cluster has {missing} but missing from --initial-advertise-peer-urls={shown} ({reason})",
            hint=hint,
        )
    mine = render_urls_by_name({config.name: advertised})
    missing = ",".join(url for url in advertised if url not in in_cluster)
    if missing:
        raise refused(
            f"--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={mine}", hint=hint
        )
    raise refused(f"failed to resolve {shown} to match --initial-cluster={mine} ({reason})", hint=hint)
