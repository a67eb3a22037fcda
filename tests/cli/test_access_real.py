"""TLS and passwords against real etcd, as an operator types them: what happened, to what, what to do next."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etcdops.errors import ExitCode
from tests.cli.conftest import RunCli, clean_environment
from tests.conftest import MakeCluster
from tests.support.certificates import DAY, Authority, KeyPair
from tests.support.real_etcd import RealCluster, Tls

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(180)]

PATIENT = ("--dial-timeout", "10s", "--command-timeout", "20s")


class Certificates:
    """Everything that is signed in these tests."""

    def __init__(self, folder: Path) -> None:
        own, other = Authority(folder / "ca"), Authority(folder / "other", "other-ca")
        self.ca = ("--cacert", str(own.ca))
        self.member = own.issue("member")
        self.expired_member = own.issue("old", valid_from=-3 * DAY, valid_until=-DAY)
        self.renamed_member = own.issue("renamed", hosts=["etcd.example"])
        self.foreign_member = other.issue("foreign")
        self.operator = client(own.issue("operator"))
        self.expired_operator = client(own.issue("leaver", valid_from=-3 * DAY, valid_until=-DAY))
        self.stranger = client(other.issue("stranger"))
        self._own = own

    def tls(self, pair: KeyPair, *, client_auth: bool = False) -> Tls:
        return Tls(self._own.ca, pair.cert, pair.key, client_auth)


def client(pair: KeyPair) -> tuple[str, ...]:
    return ("--cert", str(pair.cert), "--key", str(pair.key))


Flags = Callable[[Certificates], tuple[str, ...]]

# Which member certificate, whether clients need one, the scheme; what is typed; the reason and the next step.
REFUSALS: list[tuple[str, bool, str, Flags, str, str]] = [
    ("member", False, "https", lambda made: (), "unable to get local issuer certificate", "--cacert"),
    ("foreign_member", False, "https", lambda made: made.ca, "unable to get local issuer certificate", "--cacert"),
    ("expired_member", False, "https", lambda made: made.ca, "certificate has expired", "renew it on"),
    ("renamed_member", False, "https", lambda made: made.ca, "not valid for '127.0.0.1'", "--server-name"),
    ("member", True, "https", lambda made: made.ca, "wants a client certificate", "give --cert and --key"),
    ("member", True, "https", lambda made: (*made.ca, *made.stranger), "authority of our client", "--trusted-ca"),
    ("member", True, "https", lambda made: (*made.ca, *made.expired_operator), "our client certificate", "renew the"),
    ("member", False, "http", lambda made: (), "it probably wants TLS", "write https://"),
    ("", False, "https", lambda made: made.ca, "it probably speaks plain text", "write http://"),
]  # fmt: skip
REFUSAL_IDS = [
    "no-authority", "other-authority", "expired", "other-name", "no-client-certificate", "strangers-certificate",
    "expired-client-certificate", "http-to-tls", "https-to-plain",
]  # fmt: skip


@pytest.mark.parametrize(("pair", "client_auth", "scheme", "typed", "reason", "step"), REFUSALS, ids=REFUSAL_IDS)
def test_a_connection_that_tls_prevents_is_explained(
    cli: RunCli,
    real_etcd: MakeCluster,
    tmp_path: Path,
    pair: str,
    client_auth: bool,
    scheme: str,
    typed: Flags,
    reason: str,
    step: str,
) -> None:
    """Exit 3 everywhere, the same reason and next step in status and in a failed snapshot; no file is left."""
    made = Certificates(tmp_path)
    cluster = real_etcd(tls=made.tls(getattr(made, pair), client_auth=client_auth) if pair else None)
    endpoint = f"{scheme}://{cluster.endpoints[0].partition('://')[2]}"
    if cluster.binaries.minor == "3.4" and "our client" in reason:
        # It was built with a Go that has one alert for all that may be wrong with a client's certificate.
        reason, step = "does not accept our client certificate", "give --cert and --key"
    looked = cli("status", "--endpoints", endpoint, *typed(made))
    assert looked.code == ExitCode.UNREACHABLE, looked.out
    said = " ".join(looked.out.split())
    assert reason in said
    assert "✖ TLS" in said
    assert step in said.partition("next: ")[2]
    path = tmp_path / "backup.db"
    saved = cli("snapshot", "save", str(path), "--endpoints", endpoint, *typed(made))
    assert saved.code == ExitCode.UNREACHABLE
    cause, _, following = saved.err.partition("next: ")
    assert endpoint in cause
    assert reason in cause
    assert step in following
    assert not list(tmp_path.glob("backup.db*"))


def test_what_tls_needs_is_enough(cli: RunCli, real_etcd: MakeCluster, tmp_path: Path) -> None:
    """The counterpart: with the right files, and with a server name, everything works; also from ETCDCTL_*."""
    made = Certificates(tmp_path)
    mutual = real_etcd(tls=made.tls(made.member, client_auth=True)).endpoints[0]
    renamed = real_etcd(tls=made.tls(made.renamed_member)).endpoints[0]
    for endpoint, flags in (
        (mutual, (*made.ca, *made.operator)),
        (renamed, (*made.ca, "--server-name", "etcd.example")),
    ):
        looked = cli("status", "--endpoints", endpoint, *flags, *PATIENT)
        assert (looked.code, looked.err) == (0, ""), looked.out
        saved = cli("snapshot", "save", str(tmp_path / "x.db"), "--force", "--endpoints", endpoint, *flags, *PATIENT)
        assert saved.code == 0, saved.err
        assert saved.err.count("received") == 1
    environment = {
        "ETCDCTL_ENDPOINTS": mutual, "ETCDCTL_CACERT": made.ca[1],
        "ETCDCTL_CERT": made.operator[1], "ETCDCTL_KEY": made.operator[3],
    }  # fmt: skip
    assert cli("status", *PATIENT, **environment).code == 0


def with_users(cluster: RealCluster, folder: Path) -> dict[str, tuple[str, ...]]:
    """Authentication on: root may all, bob may read one key. Flags for each, and for wrong ones."""
    lines = (
        "user add root:right", "role add root", "user grant-role root root", "user add bob:bob", "role add reader",
        "role grant-permission reader read a", "user grant-role bob reader", "auth enable",
    )  # fmt: skip
    for line in lines:
        cluster.ctl(*line.split())
    found: dict[str, tuple[str, ...]] = {}
    for name, user, password in (
        ("root", "root", "right"), ("bob", "bob", "bob"), ("wrong", "root", "wrong"), ("nobody", "eve", "right"),
    ):  # fmt: skip
        path = folder / f"{name}.password"
        path.write_text(f"{password}\n")
        found[name] = ("--user", user, "--password-file", str(path))
    return found


def test_passwords_and_permissions(cli: RunCli, real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Exit 4 is "not let in", never "not there"; and who may only read is told so when a snapshot needs more."""
    cluster = real_etcd()
    users = with_users(cluster, tmp_path)
    endpoint = ("--endpoints", cluster.endpoints[0], *PATIENT)
    path = str(tmp_path / "backup.db")
    assert cli("status", *endpoint, *users["root"]).code == 0
    assert cli("status", *endpoint, *users["bob"]).code == 0
    for name in ("wrong", "nobody"):
        looked = cli("status", *endpoint, *users[name])
        assert looked.code == ExitCode.ACCESS_DENIED
        assert "does not let us in: authentication failed" in " ".join(looked.out.split())
        assert "next: check --user and the password" in looked.out
        saved = cli("snapshot", "save", path, *endpoint, *users[name])
        assert saved.code == ExitCode.ACCESS_DENIED
        assert "next: check --user and the password" in saved.err
    saved = cli("snapshot", "save", path, *endpoint, *users["bob"])
    assert saved.code == ExitCode.ACCESS_DENIED, saved.err
    assert "permission denied" in saved.err
    assert "next: use a user whose roles grant this, or root" in saved.err
    anybody = cli("snapshot", "save", path, *endpoint)
    assert anybody.code == ExitCode.ACCESS_DENIED
    assert "give --user NAME and --password-file FILE" in anybody.err
    assert not list(tmp_path.glob("backup.db*"))
    assert cli("snapshot", "save", path, *endpoint, *users["root"]).code == 0


def test_watching_outlives_the_token(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """Simple tokens are worthless after their time and after a restart: --watch gets a new one and says nothing."""
    cluster = real_etcd()
    (member,) = cluster.members
    flags = with_users(cluster, tmp_path)["root"]
    watching = subprocess.Popen(
        [
            sys.executable, "-m", "etcdops", "status", "--watch", "0.3", "--plain",
            "--endpoints", member.url, *flags, *PATIENT,
        ],
        env=clean_environment(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    try:
        for _ in range(2):
            assert "HEALTHY" in watching.stdout.readline()
        member.kill()
        lines = iter(watching.stdout.readline, "")
        assert any("UNREACHABLE" in line for line in lines)
        member.start()
        since = []
        for line in lines:
            since.append(line)
            if sum("HEALTHY:" in seen for seen in since) == 3:
                break
        assert "denied" not in "".join(since)
        assert "does not let us in" not in "".join(since)
    finally:
        watching.kill()
        _, said = watching.communicate()
    assert "error" not in said


def test_the_dashboard_says_why_nobody_lets_it_in(real_etcd: MakeCluster, tmp_path: Path) -> None:
    """A wrong password and a missing authority, in the real terminal."""
    made = Certificates(tmp_path)
    secured = real_etcd(tls=made.tls(made.member))
    cluster = real_etcd()
    wrong = with_users(cluster, tmp_path)["wrong"]
    expected = (
        (("--endpoints", cluster.endpoints[0], *wrong), "check --user and the password"),
        (("--endpoints", secured.endpoints[0]), "with --cacert"),
    )
    for flags, step in expected:
        assert_on_screen(flags, step, tmp_path)


def assert_on_screen(flags: tuple[str, ...], wanted: str, home: Path) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "etcdops", "tui", *flags],
        stdin=child, stdout=child, stderr=child, start_new_session=True,
        env=clean_environment(home) | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "36"},
    )  # fmt: skip
    os.close(child)
    seen, deadline = b"", time.monotonic() + 60
    try:
        while wanted.encode() not in seen and time.monotonic() < deadline:
            if select.select([parent], [], [], 0.2)[0]:
                seen += os.read(parent, 65_536)
    finally:
        process.kill()
        process.wait()
        os.close(parent)
    assert wanted.encode() in seen, seen[-3000:]
