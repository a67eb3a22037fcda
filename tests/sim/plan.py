"""What one seed decides before anything happens: the cluster, its clients, and every fault with its time.

Each fault has a random source of its own, so one can be left out without changing what the others do.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

HEARTBEAT_MS = 100


@dataclass(frozen=True, slots=True)
class Options:
    """Of one run."""

    seed: int
    members: int
    clients: int
    watchers: int
    leasers: int
    active_s: float
    """How long faults and clients go on."""
    snapshot_count: int
    catchup_entries: int
    pre_vote: bool
    delay_s_max: float
    rates: tuple[float, ...]
    """Of the members' clocks, by number."""
    think_s: float
    """A client's longest pause between two requests."""
    keys: int
    election_ms: int
    message_bytes_max: int
    """Of raft's messages and of what one Ready applies."""
    inflight_max: int
    healthy_s: float
    """How long a member must have been connected before strict reconfiguration counts on it; etcd's are 5 seconds."""
    quota_bytes: int
    """0: none."""
    auto_compaction: tuple[str, str]
    """Mode and retention; ("", "") for none."""
    checkpoint_leases_s: float
    """How often the leader notes down what leases have left; etcd's are 5 minutes."""
    commit_every_s: float
    compaction_batch: int
    survivor: bool
    """Whether the run ends with the loss of all members but one."""
    away: str
    """What becomes of a minority at the end, while the majority must go on: see Ending.majority_goes_on."""

    @property
    def rate_max(self) -> float:
        return max(1.0, *self.rates)

    def lines(self) -> list[str]:
        """For people: what was drawn."""
        drift = ", ".join(f"{(rate - 1) * 100:+.2f}%" for rate in self.rates[: self.members])
        return [
            f"members {self.members} (pre-vote {'on' if self.pre_vote else 'off'}, election {self.election_ms} ms, "
            f"snapshot-count {self.snapshot_count}, catch-up {self.catchup_entries}), clocks {drift}",
            f"clients {self.clients}, watchers {self.watchers}, leases {self.leasers}, keys {self.keys}, "
            f"think up to {self.think_s:.2f} s, {self.active_s:.1f} s of faults, delay up to "
            f"{self.delay_s_max * 1000:.1f} ms",
            f"raft messages up to {self.message_bytes_max} bytes, {self.inflight_max} in flight; members count after "
            f"{self.healthy_s:.1f} s; quota {self.quota_bytes or 'none'}, compaction {' '.join(self.auto_compaction)} "
            f"in steps of {self.compaction_batch}, commits every {self.commit_every_s:.2f} s, lease checkpoints every "
            f"{self.checkpoint_leases_s:.0f} s",
            f"at the end a minority is {self.away}{', and one member survives' if self.survivor else ''}",
        ]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong, or that an operator does. What the numbers mean depends on `kind`: see faults.py."""

    number: int
    at: float
    kind: str
    member: int
    other: int
    for_s: float
    amount: float
    mode: str

    def line(self) -> str:
        return (
            f"#{self.number:<2} {self.at:7.3f} {self.kind:14} member {self.member} other {self.other} "
            f"for {self.for_s:.2f} s amount {self.amount:.3f} {self.mode}"
        )


LOSSES = ("nothing", "all", "tail", "some")

_WEIGHTS: dict[str, int] = {
    "crash": 14,
    "crash-in-write": 18,
    "crash-all": 3,
    "pause": 4,
    "pause-leader": 3,
    "isolate": 6,
    "partition": 5,
    "one-way": 4,
    "deaf-leader": 3,
    "mute-leader": 3,
    "flap": 3,
    "drop": 3,
    "slow-net": 4,
    "slow-link": 4,
    "duplicate": 2,
    "clock-jump": 2,
    "slow-disk": 3,
    "hunt-leaders": 4,
    "full-disk": 2,
    "corrupt": 2,
    "crash-at-image": 4,
    "swap-data": 2,
    "replace": 2,
    "grow": 3,
    "remove": 2,
    "remove-leader": 1,
    "leader-leaves": 3,
    "transfer": 5,
    "transfer-cut": 3,
    "promote": 2,
    "return-removed": 3,
    "make-room": 2,
    "downgrade": 1,
    "compact": 6,
    "defragment": 3,
    "defragment-crash": 2,
}
KINDS = tuple(_WEIGHTS)


SHORT = 0.3
"""The part of the time that faults and clients get in a short run."""


STORM = 0.08
"""The part of the seeds in which the leaders of a small cluster are hunted, and each message has one entry."""


LENGTHY = frozenset(
    ("crash-at-image", "grow", "make-room", "pause-leader", "promote", "remove", "replace", "return-removed")
)
LENGTHY_S = 3.0
"""What takes several steps gets that much time before everything is healed."""

QUOTAS = (58_000, 66_000)
"""Bytes that an almost empty store comes near to."""


def draw_plan(seed: int, *, short: bool = False) -> tuple[Options, list[Fault]]:
    """The options and the faults of a seed, by time. A short run draws the same and has less time for it."""
    draw = random.Random(f"{seed}/plan")
    storm = draw.random() < STORM
    members = 3 if storm else draw.choices((1, 2, 3, 4, 5, 7), (2, 1, 14, 1, 3, 1))[0]
    drift = draw.choice((0.0, 0.0, 0.001, 0.02))
    options = Options(
        seed=seed,
        members=members,
        clients=draw.randint(1, 4),
        watchers=draw.randint(1, 3),
        leasers=draw.randint(0, 2),
        active_s=draw.uniform(6.0, 16.0) * (SHORT if short else 1.0),
        snapshot_count=draw.choice((5, 10, 20, 60, 10_000)),
        catchup_entries=draw.choice((1, 1, 5, 5_000)),
        pre_vote=draw.random() < 0.7,
        delay_s_max=draw.choice((0.001, 0.005, 0.02, 0.08)),
        rates=tuple(1.0 + draw.uniform(-drift, drift) for _ in range(16)),
        think_s=draw.choice((0.02, 0.2) if storm else (0.02, 0.2, 0.4)),
        keys=draw.choice((2, 5, 12)),
        election_ms=500 if storm else draw.choice((500, 1000)),
        message_bytes_max=1 if storm else draw.choice((1, 200, 1 << 20)),
        inflight_max=draw.choice((1, 4, 512)),
        healthy_s=draw.choice((0.2, 1.0, 5.0)) * (SHORT if short else 1.0),
        quota_bytes=draw.choice((0,) * 8 + QUOTAS),
        auto_compaction=draw.choice((("", ""),) * 6 + (("periodic", "1s"), ("revision", "10"))),
        checkpoint_leases_s=draw.choice((1.0, 300.0)),
        commit_every_s=draw.choice((0.02, 0.1, 0.1, 2.0)),
        compaction_batch=draw.choice((1, 7, 1000)),
        survivor=draw.random() < 0.1,
        away=draw.choice(("here", "here", "down", "cut", "deaf", "mute")),
    )
    if options.away == "deaf" and not options.pre_vote:
        # It would go on campaigning, which may hold the others up for as long as it likes: see README.md.
        options = replace(options, away="cut")
    if storm:
        hunt = Fault(0, draw.uniform(0.4, 0.8), "hunt-leaders", 0, 0, 0.5, 1.0, draw.choice(LOSSES))
        return replace(options, active_s=draw.uniform(5.0, 9.0)), [hunt]
    faults = _draw_faults(draw, options)
    options = _suited(options, {fault.kind for fault in faults}, draw)
    needed_s = max((fault.at + LENGTHY_S for fault in faults if fault.kind in LENGTHY), default=0.0)
    return replace(options, active_s=max(options.active_s, needed_s)), faults


def _suited(options: Options, kinds: set[str], draw: random.Random) -> Options:
    """Options under which what is done can have its consequences."""
    if "make-room" in kinds and not options.quota_bytes:
        options = replace(options, quota_bytes=max(QUOTAS))
    if "crash-at-image" in kinds:
        # Whoever was away needs an image soon.
        options = replace(options, snapshot_count=draw.choice((5, 10)), catchup_entries=1)
    if "slow-link" in kinds:
        # Somebody writes while others ask the member that is behind for the same key.
        options = replace(options, clients=4, keys=2, think_s=0.02)
    if "pause-leader" in kinds:
        options = replace(options, leasers=2)
    return options


def _draw_faults(draw: random.Random, options: Options) -> list[Fault]:
    count = draw.choice((1, 2, 3, 4, 5, 6, 8, 12))
    # Swarm: each run knows some kinds only, so that the rare ones also meet each other often.
    kinds = [kind for kind in KINDS if draw.random() < 0.5] or list(KINDS)
    if options.members == 1:
        kinds = [kind for kind in kinds if _alone(kind)] or ["crash-in-write"]
    weights = [_WEIGHTS[kind] for kind in kinds]
    times = sorted(draw.uniform(0.5, options.active_s) for _ in range(count))
    faults = []
    for number, at in enumerate(times):
        kind = draw.choices(kinds, weights)[0]
        faults.append(
            Fault(
                number,
                at,
                kind,
                member=draw.randrange(8),
                other=draw.randrange(8),
                for_s=_duration(draw),
                amount=draw.random(),
                mode=draw.choice(LOSSES),
            )
        )
    return faults


def _alone(kind: str) -> bool:
    """Whether it makes sense for the only member of a cluster, whose loss is the loss of everything."""
    return kind not in (
        "corrupt",
        "crash-at-image",
        "promote",
        "remove",
        "remove-leader",
        "replace",
        "slow-link",
        "swap-data",
        "transfer",
        "transfer-cut",
    )


def _duration(draw: random.Random) -> float:
    lengths: tuple[Callable[[], float], ...] = (
        lambda: draw.uniform(0.02, 0.5),
        lambda: draw.uniform(0.5, 3.0),
        lambda: draw.uniform(2.0, 8.0),
    )
    return draw.choice(lengths)()
