"""Which failed request may be sent again, where, and when nobody can know whether it took effect. The only such table.

Read it as: the first row whose code and text match says what to do, for requests that may be repeated (reads and
idempotent ones) and for writes. Why a write is so seldom repeated: a member that took a proposal may answer "timed
out", or die, after the proposal has reached the others; sending it again could apply it twice.

Texts are etcd's (rpctypes/error.go) or gRPC's; a row matches when the failure's text contains one of its texts.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from etcdops.client.methods import Effect


class Action(enum.Enum):
    """What to do about a failed attempt."""

    RETRY = "retry"
    """It had no effect, or repeating does no harm: try the next endpoint while there is time."""
    REFRESH = "refresh"
    """The token is the problem: get a new one, then try again once."""
    REFUSED = "refused"
    """The cluster understood and said no: it will say no again."""
    UNKNOWN = "unknown"
    """It may or may not have taken effect: only reading can tell."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. Empty `codes` or `texts` match anything."""

    codes: tuple[str, ...]
    texts: tuple[str, ...]
    repeatable: Action
    write: Action
    why: str


NOT_SENT = (
    "failed to connect to all addresses",
    "connections to all backends failing",
    "errors resolving",
    "DNS resolution failed",
    "no connection within",
)
"""What gRPC (or `channels`) says when a request never left this process."""

_RETRY, _REFRESH, _REFUSED, _UNKNOWN = Action.RETRY, Action.REFRESH, Action.REFUSED, Action.UNKNOWN

RULES: tuple[Rule, ...] = (
    Rule((), NOT_SENT, _RETRY, _RETRY, "no connection: nothing was sent"),
    Rule((), ("invalid auth token",), _REFRESH, _REFRESH, "tokens expire; it is checked before anything is done"),
    Rule((), ("revision of auth store is old",), _REFRESH, _REFRESH, "users changed since the token was made"),
    Rule((), ("user name is empty",), _REFRESH, _REFRESH, "auth was turned on after we learned that it was off"),
    Rule((), ("permission denied",), _REFUSED, _REFUSED, "also where etcd forgets the code, as for a snapshot"),
    Rule((), ("proposal dropped",), _RETRY, _RETRY, "raft did not take the proposal"),
    Rule((), ("too many requests",), _RETRY, _RETRY, "refused before it was proposed"),
    Rule((), ("rpc not supported for learner",), _RETRY, _RETRY, "a learner refuses before doing anything"),
    Rule((), ("not capable",), _RETRY, _RETRY, "the member is still learning the cluster's version"),
    Rule(("UNAVAILABLE",), ("etcdserver: no leader",), _RETRY, _RETRY, "checked before anything is proposed"),
    Rule(("UNAVAILABLE",), ("unhealthy cluster",), _REFUSED, _REFUSED, "a membership change was judged unsafe"),
    Rule(
        ("UNAVAILABLE",),
        ("etcdserver: leader changed", "etcdserver: request timed out", "etcdserver: server stopped"),
        _RETRY,
        _UNKNOWN,
        "a proposal may still be committed by the next leader",
    ),
    Rule(("UNAVAILABLE",), (), _RETRY, _UNKNOWN, "the connection broke while the member had the request"),
    Rule(("DEADLINE_EXCEEDED", "CANCELLED"), (), _RETRY, _UNKNOWN, "no answer in time says nothing about the effect"),
    Rule(("UNKNOWN",), ("etcdserver: ",), _REFUSED, _REFUSED, "etcd forgets the code of some refusals"),
    Rule(("UNKNOWN", "INTERNAL"), (), _RETRY, _UNKNOWN, "a stream was cut, or a proxy answered for the member"),
    Rule((), (), _REFUSED, _REFUSED, "every other code is an answer, given after looking at the request"),
)


def find_rule(code: str, text: str) -> Rule:
    """The row for a failure: `code` is gRPC's name for it (`UNAVAILABLE`), `text` its details."""
    return next(
        rule
        for rule in RULES
        if (not rule.codes or code in rule.codes) and (not rule.texts or any(part in text for part in rule.texts))
    )


def decide(effect: Effect, code: str, text: str) -> Action:
    """What to do about an attempt that failed with `code` and `text`."""
    rule = find_rule(code, text)
    return rule.write if effect is Effect.WRITE else rule.repeatable


def was_sent(text: str) -> bool:
    """Whether the request may have reached a member."""
    return not any(part in text for part in NOT_SENT)


BACKOFF_FIRST_S = 0.025
BACKOFF_MAX_S = 0.5


def backoff_s(rounds: int) -> float:
    """How long to wait after all endpoints failed `rounds` >= 1 times: 25 ms as in etcd's client, doubling to 0.5 s.

    Source: etcd client/v3/options.go, defaultBackoffWaitBetween.
    """
    return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(rounds - 1, 10))
