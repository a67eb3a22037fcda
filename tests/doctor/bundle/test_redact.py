"""What must never leave: planted in every shape that logs, settings and programs give it."""

from __future__ import annotations

import json

import pytest

from etcdops.doctor.bundle.names import Names
from etcdops.doctor.bundle.redact import Redactor

SECRET = "hunter2-S3cr"
TOKEN = "abcdefghijklmnop.42"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJ1c2VybmFtZSI6InJvb3QifQ.c2lnbmF0dXJl"
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIIGz\n0f9JmP8xSecretBytes\n-----END EC PRIVATE KEY-----"

PLANTED = [
    f"--password={SECRET}",
    f"--password {SECRET}",
    f"etcdctl --user root:{SECRET} endpoint status",
    f"etcdctl --user=root:{SECRET}",
    f"ETCDCTL_USER=root:{SECRET}",
    f"ETCDCTL_PASSWORD={SECRET}",
    f'ETCD_DISCOVERY_PASSWORD="{SECRET}"',
    f"password: {SECRET}",
    f"password=a,{SECRET}",
    f"--password 'two {SECRET}'",
    f'--password "two {SECRET}"',
    f'{{"password":"{SECRET}"}}',
    f'{{"hashed_password": "{SECRET}"}}',
    f'auth_user_add:<name:"root" password:"{SECRET}" >',
    f'{{"msg":"slow","request":"header:<ID:1> put:<key:\\"/a\\" value:\\"{SECRET}\\" >"}}',
    f'request "put:<key:"/a" value:"x\\"{SECRET}" >" with result',
    f'{{"key":"L2E=","value":"{SECRET}"}}',
    f"https://root:{SECRET}@10.0.0.1:2379",
    f"Authorization: Bearer {SECRET}{SECRET}",
    f'"authorization":"{SECRET}"',
    f"grpc metadata token={SECRET}",
    f'{{"token":"{SECRET}"}}',
    f"aws_secret_access_key = {SECRET}",
    f'{{"msg":"recognized","variable-name":"ETCD_DISCOVERY_PASSWORD","variable-value":"{SECRET}"}}',
]


@pytest.mark.parametrize("line", PLANTED)
def test_no_secret_survives_wherever_it_stands(line: str) -> None:
    """And the reader sees that something was there."""
    redactor = Redactor()
    left = redactor.line(line)
    assert SECRET not in left
    assert "***" in left
    assert redactor.taken.total() >= 1


@pytest.mark.parametrize("line", [TOKEN, JWT, f'"token": {JWT}', "$2a$10$" + "a" * 53, "AKIAABCDEFGHIJKLMNOP"])
def test_what_looks_like_a_token_or_a_hash_goes_without_any_name_before_it(line: str) -> None:
    """etcd's simple tokens are sixteen letters and a number; signed ones begin with eyJ."""
    assert Redactor().line(line).rpartition(" ")[2] == "***"


def test_private_keys_go_over_all_their_lines_and_on_a_single_one() -> None:
    """What stands before and after them stays; a key without an end takes the rest of its text, not of the next."""
    redactor = Redactor()
    assert redactor.text(f"before\n{PEM}\nafter") == "before\n***\n\n\n\nafter"
    in_json = json.dumps({"key": PEM, "name": "m1"})
    assert redactor.text(in_json) == '{"key": "***", "name": "m1"}'
    assert "Secret" not in redactor.text("-----BEGIN PRIVATE KEY-----\nSecret")
    assert redactor.text("next") == "next"
    assert redactor.taken["private key"] == 3


def test_secrets_that_are_known_go_in_any_place() -> None:
    """The password we log in with may stand in a message of any program."""
    redactor = Redactor([SECRET, "abc"])
    assert redactor.line(f"sudo: {SECRET}: abc not found") == "sudo: ***: abc not found"


@pytest.mark.parametrize(
    "line",
    [
        '"initial-cluster-token":"prod"',
        "--initial-cluster-token=prod",
        '"auth-token":"simple"',
        "--password-file=/etc/etcd/password",
        '{"level":"warn","ts":"2026-01-31T08:00:00.1Z","msg":"apply request took too long","took":"1.1s"}',
        "etcdserver: invalid auth token",
        "user root needs a password",
        '"request":"header:<ID:7 > put:<key:\\"/a\\" value_size:10 >"',
        '{"variable-name":"ETCD_NAME","variable-value":"m1"}',
        "etcd Version: 3.5.16, raft.go:1234, member 8e9e05c52164694d",
    ],
)
def test_what_is_no_secret_stays_as_it_is(line: str) -> None:
    """Support needs it."""
    redactor = Redactor()
    assert redactor.line(line) == line
    assert not redactor.taken


def test_the_line_after_a_secret_is_read_on() -> None:
    """Only what is between the quotes goes."""
    line = '{"password":"a\\"b","name":"m1","value":"c","took":"1s"}'
    assert Redactor().line(line) == '{"password":"***","name":"m1","value":"***","took":"1s"}'


LINES = [
    '2026-01-31T08:00:00+0000 db-a etcd[1]: {"msg":"dial tcp 10.0.0.2:2380: connect: connection refused"}',
    '{"name":"prod-1","initial-cluster":"prod-1=https://etcd1.corp.example:2380,prod-2=https://10.0.0.2:2380"}',
    "listen 0.0.0.0:2379 and 127.0.0.1:2379, [fd00::2]:2380, version 3.5.16, etcdserver/raft.go:1234",
    "lookup etcd9.corp.example: no such host; prod-1 at etcd1.corp.example",
]


def test_addresses_and_names_are_replaced_the_same_everywhere() -> None:
    """Who is who can still be told; loopback, versions, files and words stay."""
    names = Names(["h1"])
    for line in LINES:
        names.learn(line)
    text = names.text("\n".join(LINES))
    for real in ("db-a", "10.0.0.2", "prod-1", "prod-2", "corp.example", "fd00::2"):
        assert real not in text, real
    for kept in ("0.0.0.0:2379", "127.0.0.1:2379", "3.5.16", "etcdserver/raft.go:1234", '"msg":"dial tcp ip-'):
        assert kept in text, kept
    first, second, _, fourth = text.splitlines()
    number = names.line("10.0.0.2")
    assert f"dial tcp {number}:2380" in first
    assert f"https://{number}:2380" in second
    assert names.line("prod-1") in second
    assert names.line("prod-1") in fourth
    assert names.stands_for[number] == "10.0.0.2"


def test_a_name_inside_another_word_is_left_alone() -> None:
    """`m1` is a member, `m10` another, `m1-data` a directory."""
    names = Names(["m1", "m10", "etcd", "10.0.0.1"])
    assert names.line("m1 m10 m1-data xm1 etcd 10.0.0.1 10.0.0.11") == "name-1 name-2 m1-data xm1 etcd ip-1 10.0.0.11"
