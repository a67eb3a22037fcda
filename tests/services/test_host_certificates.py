"""Certificates on hosts: what is missing, damaged or past its time is told, keys are only looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from etcdops.inventory.load import read_texts
from etcdops.services.host_certificates import certificate_problems, certificates_on
from tests.fakes.session import FakeSession
from tests.support.certificates import DAY, Authority


@pytest.fixture
def session(tmp_path: Path) -> FakeSession:
    authority = Authority(tmp_path / "ca")
    good = authority.issue("good", valid_until=100 * DAY)
    old = authority.issue("old", valid_from=-3 * DAY, valid_until=-DAY)
    return FakeSession(
        files={
            "/tls/good.crt": good.cert.read_text(),
            "/tls/old.crt": old.cert.read_text(),
            "/tls/key": "not to be read",
            "/tls/text": "no PEM",
        }
    )


async def test_each_file_is_named_with_its_flag(session: FakeSession) -> None:
    """Below a container's root too."""
    paths = {
        "cert-file": "/good.crt",
        "key-file": "/key",
        "trusted-ca-file": "/text",
        "peer-cert-file": "/old.crt",
        "peer-key-file": "/none",
        "peer-trusted-ca-file": "relative",
    }
    found = await certificate_problems(session, paths, root="/tls")
    assert [one.partition(":")[0] for one in found] == [
        "trusted-ca-file /text",
        "peer-cert-file /old.crt",
        "peer-key-file /none",
    ]
    assert "no certificate" in found[0]
    assert "it expired on" in found[1]
    assert found[2].endswith("it is not there")


@pytest.mark.parametrize(
    ("tls", "problems"),
    [
        ("{files: {cert_file: /tls/old.crt, key_file: /tls/none}}", ["it expired on", "it is not there"]),
        ("{directory: /not/yet}", []),
    ],
)
async def test_what_a_rollout_will_make_need_not_be_there(session: FakeSession, tls: str, problems: list[str]) -> None:
    """Somebody else's files must; members of other hosts are not asked for here."""
    text = f"hosts: {{h1: {{}}, h2: {{}}}}\nclusters: {{c: {{tls: {tls}, members: [{{host: h1}}, {{host: h2}}]}}}}\n"
    inventory = read_texts({Path("i.yaml"): text}).inventory
    found = await certificates_on(inventory)(inventory.hosts["h1"], session)
    assert [one.startswith("c/h1: ") for one in found] == [True] * len(problems)
    assert all(problem in one for problem, one in zip(problems, found, strict=True))
