"""Writers and readers that note down what they were promised, and what must hold of it in the end."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field

import grpc

from tests.support.raw_client import RawClient


@dataclass
class Promises:
    """What clients were told, shared by all their threads."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """Key to the revision its writer was told."""

    unknown: set[str] = field(default_factory=set)
    """Writes without an answer: each may be there, once, or not."""

    errors: Counter[str] = field(default_factory=Counter)
    """What writers were told instead of a revision."""

    reads: int = 0
    broken: list[str] = field(default_factory=list)
    """Promises that were broken in front of a client."""

    revision: int = 0
    """The highest revision anybody was told so far."""

    lock: threading.Lock = field(default_factory=threading.Lock)

    def told(self, revision: int) -> None:
        """Somebody saw this revision. Call it with the lock held."""
        self.revision = max(self.revision, revision)


class Traffic:
    """Threads that write unique keys and read them back, through all members in turn. Nobody repeats a request."""

    def __init__(self, urls: list[str], *, writers: int = 6, readers: int = 2, seed: int = 1) -> None:
        self.promises = Promises()
        self._urls = urls
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=work, args=(number, random.Random(seed * 1000 + number)), name=f"{work.__name__}{number}"
            )
            for work, count in ((self._write, writers), (self._read, readers))
            for number in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> Promises:
        """Let every request end, and give back what was promised."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), f"{thread.name} hangs: a call outlived its deadline"
        return self.promises

    def _write(self, number: int, draw: random.Random) -> None:
        promises = self.promises
        clients = [RawClient(url) for url in self._urls]
        turn = 0
        while not self._stop.is_set():
            key = f"w{number}-{turn:06}"
            turn += 1
            try:
                revision = draw.choice(clients).put(key, _value(key), timeout_s=5.0)
            except grpc.RpcError as error:
                with promises.lock:
                    promises.unknown.add(key)
                    promises.errors[words(error)] += 1
                self._stop.wait(0.05)
                continue
            with promises.lock:
                promises.acknowledged[key] = revision
                promises.told(revision)
        for client in clients:
            client.close()

    def _read(self, number: int, draw: random.Random) -> None:
        promises = self.promises
        clients = [RawClient(url) for url in self._urls]
        while not self._stop.is_set():
            with promises.lock:
                known = promises.revision
                key = draw.choice(list(promises.acknowledged)) if promises.acknowledged else ""
            if not key:
                self._stop.wait(0.01)
                continue
            try:
                revision, found = draw.choice(clients).get(key, timeout_s=5.0)
            except grpc.RpcError:
                self._stop.wait(0.02)
                continue
            with promises.lock:
                promises.reads += 1
                promises.told(revision)
                if revision < known:
                    promises.broken.append(f"a linearizable read was at {revision} after somebody was told {known}")
                if found is None or found.mod_revision != promises.acknowledged[key]:
                    promises.broken.append(f"a linearizable read found {found!r} under {key}")
        for client in clients:
            client.close()


def check(promises: Promises, urls: list[str]) -> None:
    """Everything that was promised is there, on every member, and nothing else."""
    assert not promises.broken, promises.broken[:5]
    hashes = set()
    for url in urls:
        with RawClient(url) as client:
            found = client.all()
            hashes.add((client.hash_kv(), len(found)))
        lost = {
            key for key, told in promises.acknowledged.items() if key not in found or found[key].mod_revision != told
        }
        assert not lost, f"{len(lost)} acknowledged writes are not as they were on {url}: {sorted(lost)[:5]}"
        strangers = found.keys() - promises.acknowledged.keys() - promises.unknown
        assert not strangers, f"nobody wrote {sorted(strangers)[:5]}"
        for key, kept in found.items():
            assert (kept.version, kept.value.decode()) == (1, _value(key)), f"{key} was written {kept.version} times"
    assert len(hashes) == 1, f"members differ: {hashes}"


def words(error: grpc.RpcError) -> str:
    """The text of a failed call, without addresses."""
    assert isinstance(error, grpc.Call)
    return f"{error.code().name}: {(error.details() or '').partition(';')[0]}"


def _value(key: str) -> str:
    return f"value of {key} " + "." * (hash_of(key) % 300)


def hash_of(key: str) -> int:
    """The same in every process, unlike `hash`."""
    return sum(ord(character) * (position + 7) for position, character in enumerate(key))
