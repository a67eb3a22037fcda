"""What servers answer to bytes, down to the last trailer: golden files of real etcd 3.4 and 3.5 and of the node.

The answers of each server are a file under golden/wire; `pytest --rewrite` writes them anew. Where the node's file
differs from etcd 3.5's, `wire_differences.py` says why.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import grpc
import pytest

from tests.conftest import Golden
from tests.differential import wire_cases as cases
from tests.differential.checklist import Server, executes
from tests.differential.conftest import Start
from tests.differential.statements import REFUSALS
from tests.differential.wire import Wire, http1, shown
from tests.differential.wire_differences import DIFFERENT
from tests.fakes.http2_client import call_headers, message
from tests.support.real_etcd import poll_until

CONVERSATIONS: dict[str, Mapping[str, cases.Case]] = {
    "messages": cases.MESSAGES,
    "streams": cases.STREAMS,
    "calls": cases.CALLS,
    "frames": cases.FRAMES,
    "connections": cases.CONNECTIONS,
}
FOLDER = Path(__file__).parent / "golden" / "wire"


def _written(answers: Mapping[str, list[str]]) -> str:
    return "\n".join(f"{name}\n----\n" + "".join(f"{line}\n" for line in lines) for name, lines in answers.items())


def _read(path: Path) -> dict[str, str]:
    """The answers in a golden file, by case."""
    blocks = ("\n" + path.read_text()).split("\n----\n")
    names = [block.rpartition("\n")[2] for block in blocks[:-1]]
    bodies = [block.rpartition("\n")[0].rstrip("\n") for block in blocks[1:-1]] + [blocks[-1].rstrip("\n")]
    return dict(zip(names, bodies, strict=True))


@executes("Q03", "Q05", "X05", "X06", "X13", "X22")
@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("section", CONVERSATIONS)
@pytest.mark.timeout(180)
def test_answers_over_http2(server: Server, section: str, golden: Golden) -> None:
    """Each on a connection of its own, which nothing before it has spoilt."""
    answers = {}
    for name, case in CONVERSATIONS[section].items():
        with Wire(server.client.address) as wire:
            answers[name] = case(wire)
    golden.check(f"{section}-{server.name}.txt", _written(answers))
    assert server.client.revision() > 0, "it still serves"


@executes("E07", "X10")
@pytest.mark.real
@pytest.mark.slow
def test_a_client_version_that_is_no_text(server: Server) -> None:
    """Bytes that no library would send."""
    server.runs("X10")
    with Wire(server.client.address) as wire:
        pairs = [(name.encode(), value.encode()) for name, value in call_headers(cases.RANGE)]
        stream_id, sent = wire.http2.headers([*pairs, (b"client-api-version", b"\xff\xfe")])
        wire.send(sent + wire.http2.data(stream_id, message(cases.ASK), end=True))
        found = wire.answer(stream_id).headers
    code, text = REFUSALS["E07"].split(": ", 1)
    server.check("E07", (found["grpc-status"], found["grpc-message"]), (str(grpc.StatusCode[code].value[0]), text))


@executes("G05")
@pytest.mark.real
@pytest.mark.slow
def test_answers_over_http1(server: Server, golden: Golden) -> None:
    """Status, some headers and body; what depends on the time or the machine is left out."""
    answers = {
        name: http1(server.client.address, sent, names=cases.HTTP1_HEADERS) for name, sent in cases.HTTP1.items()
    }
    for name in ("GET /debug/vars",):
        answers[name] = [answers[name][0]]
    golden.check(f"http1-{server.name}.txt", _written(answers))


@pytest.mark.parametrize("section", [*CONVERSATIONS, "http1"])
def test_every_difference_has_a_reason(section: str) -> None:
    """And every reason a difference: the node beside etcd 3.5."""
    node, etcd = (_read(FOLDER / f"{section}-{kind}.txt") for kind in ("node", "etcd-3.5"))
    assert node.keys() == etcd.keys()
    different = {name for name in node if node[name] != etcd[name]}
    assert different == set(DIFFERENT.get(section, {}))


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("with_call", [False, True])
def test_a_server_that_stops_says_so(fresh: Start, golden: Golden, kind: str, with_call: bool) -> None:
    """SIGTERM: clients are sent elsewhere by GOAWAY, calls that do not end are ended, the connection is closed."""
    server = fresh()
    with Wire(server.client.address) as wire:
        wire.settle()
        stream_id = 0
        if with_call:
            stream_id, opened = wire.http2.headers(call_headers(cases.WATCH))
            wire.send(opened)
            wire.settle()
        process = server.cluster.members[0].process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        wire.read_until(lambda: wire.closed)
        # etcd closes the connection while its last frames are still being written: whether they arrive is a race.
        tells = kind == "node"
        lines = [*(dict.fromkeys(wire.goaways()) if tells else ()), "closed" if wire.closed else "open"]
        if with_call and tells:
            lines += shown(wire.http2.answer(stream_id))
        poll_until(_ended(server), 20.0, "it does not end")
    golden.check(f"stop{'-during-a-call' if with_call else ''}-{kind}.txt", _written({"SIGTERM": lines}))


def _ended(server: Server) -> Callable[[], bool]:
    process = server.cluster.members[0].process
    assert process is not None
    return lambda: process.poll() is not None
