"""The error table: its words are protocol."""

from __future__ import annotations

import pytest

from etcdops.node.api import errors
from etcdops.node.api.errors import EtcdError
from etcdops.node.rpc.service import StatusCode
from tests.conftest import Golden

TABLE = {name: value for name, value in vars(errors).items() if isinstance(value, EtcdError)}


def test_every_text_and_code_is_etcds(golden: Golden) -> None:
    """Rows E01-E63 and the unmapped errors of Q02, as they arrive at a client of etcd 3.5 (rpctypes/error.go)."""
    lines = [
        f"{name}: {error.code.name} {error.text}" + (f" (declared {error.declared.name})" if error.declared else "")
        for name, error in TABLE.items()
    ]
    golden.check("table.txt", "\n".join(lines) + "\n")


def test_two_errors_arrive_without_the_code_they_are_declared_with() -> None:
    """Q01: the server maps them to the client's kind of error, which has no status, so gRPC says Unknown."""
    quirks = {name for name, error in TABLE.items() if error.declared is not None}
    assert quirks == {"TOO_MANY_REQUESTS", "NOT_ENOUGH_STARTED_MEMBERS"}
    assert all(TABLE[name].code is StatusCode.UNKNOWN for name in quirks)


def test_no_two_rows_share_a_text() -> None:
    """Clients find an error by its text."""
    texts = [error.text for error in TABLE.values()]
    assert len(set(texts)) == len(texts)


def test_a_status_is_rendered_as_go_prints_it() -> None:
    """W36: cancel reasons of watches hold rendered statuses."""
    assert errors.PERMISSION_DENIED.rendered() == (
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    )
    assert errors.INVALID_AUTH_TOKEN.rendered() == (
        "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"
    )


@pytest.mark.parametrize("code", list(StatusCode))
def test_every_code_has_grpc_gos_name(code: StatusCode) -> None:
    """They are labels in metrics too."""
    assert errors.GO_CODE_NAMES[code].isalpha() or errors.GO_CODE_NAMES[code] == "OK"
