"""Connection settings come whole from one source, and the user is told which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from etcdops.client.settings import ConnectionFlags, ConnectionSettings, override, parse_seconds, resolve
from etcdops.errors import UsageError
from etcdops.secret import Secret

ETCDCTL = {
    "ETCDCTL_ENDPOINTS": "https://prod:2379",
    "ETCDCTL_CACERT": "/prod/ca.pem",
    "ETCDCTL_USER": "root:secret",
    "ETCDCTL_DIAL_TIMEOUT": "7s",
}


def test_without_anything_the_local_member_is_meant() -> None:
    found = resolve(ConnectionFlags(), {})
    assert found.settings.endpoints == ("http://127.0.0.1:2379",)
    assert found.settings.source == "local default"
    assert found.notes == ()


def test_etcdctls_environment_works_as_it_is() -> None:
    """Who has a shell set up for etcdctl needs nothing new."""
    found = resolve(ConnectionFlags(), ETCDCTL)
    settings = found.settings
    assert (settings.endpoints, settings.cacert, settings.username) == (("https://prod:2379",), "/prod/ca.pem", "root")
    assert settings.password is not None
    assert settings.password.reveal() == "secret"
    assert settings.dial_timeout_s == 7.0
    assert found.notes == ("using ETCDCTL_* environment",)


def test_flags_never_mix_with_the_environments_certificates_or_password() -> None:
    """console.md 6.2: endpoints of one source and certificates or secrets of another are never mixed silently."""
    found = resolve(ConnectionFlags(endpoints="http://other:2379"), ETCDCTL)
    settings = found.settings
    assert (settings.endpoints, settings.cacert, settings.username, settings.password) == (
        ("http://other:2379",),
        "",
        "",
        None,
    )
    assert found.notes == ("using flags; ETCDCTL_* environment ignored",)


def test_our_own_environment_wins_over_etcdctls_as_a_whole() -> None:
    found = resolve(ConnectionFlags(), ETCDCTL | {"ETCDOPS_ENDPOINTS": "http://mine:1"})
    assert (found.settings.endpoints, found.settings.cacert, found.settings.username) == (("http://mine:1",), "", "")
    assert found.notes == ("using the ETCDOPS_* environment; ETCDCTL_* environment ignored",)


def test_a_typed_user_replaces_the_environments_but_keeps_its_place() -> None:
    """`--user` beside ETCDCTL_ENDPOINTS must not silently go to localhost."""
    found = resolve(ConnectionFlags(user="alice"), ETCDCTL)
    assert found.settings.endpoints == ("https://prod:2379",)
    assert found.settings.username == "alice"
    assert found.needs_password, "the environment's password belongs to another user"


def test_a_timeout_alone_does_not_choose_the_source() -> None:
    settings = resolve(ConnectionFlags(command_timeout="1m"), ETCDCTL).settings
    assert (settings.endpoints, settings.command_timeout_s) == (("https://prod:2379",), 60.0)


def test_certificates_without_endpoints_say_where_they_go(tmp_path: Path) -> None:
    found = resolve(ConnectionFlags(cacert="ca.pem"), {})
    assert "connecting to http://127.0.0.1:2379" in found.notes[-1]


def test_the_password_file_holds_the_password_on_its_first_line(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret \r\nnot this\n")
    settings = resolve(ConnectionFlags(user="root", password_file=str(file)), {}).settings
    assert settings.password is not None
    assert settings.password.reveal() == "s3cret "


def test_a_password_typed_as_a_flag_works_with_a_warning() -> None:
    found = resolve(ConnectionFlags(user="root", password="pw"), {})
    assert any("visible to other users" in note for note in found.notes)
    assert "pw" not in repr(found)


@pytest.mark.parametrize(
    "flags",
    [
        ConnectionFlags(cert="c.pem"),
        ConnectionFlags(key="k.pem"),
        ConnectionFlags(password="pw"),
        ConnectionFlags(command_timeout="0s"),
        ConnectionFlags(dial_timeout="soon"),
        ConnectionFlags(command_timeout="nan"),
        ConnectionFlags(endpoints=","),
        ConnectionFlags(user="u", password_file="/does/not/exist"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_sent(flags: ConnectionFlags) -> None:
    with pytest.raises(UsageError):
        resolve(flags, {})


def test_settings_never_print_the_password() -> None:
    assert "hunter2" not in repr(ConnectionSettings(username="u", password=Secret("hunter2")))


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("1m30s", 90), ("500ms", 0.5), ("1.5h", 5400), ("2", 2), ("100us", 1e-4)]
)
def test_durations_are_gos_or_plain_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text, "t") == pytest.approx(seconds)


def test_what_is_typed_comes_before_what_an_inventory_says() -> None:
    """Each flag for itself, and stderr says which; a certificate never meets another one's key."""
    base = ConnectionSettings(
        endpoints=("https://a:2379",), cacert="ca", cert="c", key="k", username="root", password=Secret("x"), source="c"
    )
    same = override(base, ConnectionFlags(), {"ETCDCTL_ENDPOINTS": "http://other:1", "ETCDOPS_DIAL_TIMEOUT": "9s"})
    assert same.settings == replace(base, dial_timeout_s=9.0)
    assert same.notes == ("using c; ETCDCTL_* environment ignored",)
    typed = override(base, ConnectionFlags(endpoints="b:2379", user="me"), {})
    assert (typed.settings.endpoints, typed.settings.cacert) == (("b:2379",), "ca")
    assert (typed.settings.username, typed.settings.password, typed.needs_password) == ("me", None, True)
    assert typed.notes == ("using c, with --endpoints, --user as typed",)
    assert override(base, ConnectionFlags(user="root"), {}).settings.password is base.password
    with pytest.raises(UsageError, match="--cert is given without --key"):
        override(base, ConnectionFlags(cert="mine"), {})
