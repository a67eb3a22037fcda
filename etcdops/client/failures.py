"""What went wrong with one attempt, told apart by what an operator would do about it, and the error it becomes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from etcdops.client.methods import Effect
from etcdops.client.remedies import remedy
from etcdops.client.view import Silence
from etcdops.errors import AccessDenied, EtcdopsError, ResultUnknown, Unhealthy, Unreachable


class Refused(EtcdopsError):
    """The cluster understood the request and refused it; nothing was changed. `text` is etcd's without its prefix."""

    code = "refused"

    def __init__(self, message: str, *, text: str, status: str, cause: str = "", hint: str = "") -> None:
        super().__init__(message, cause=cause, hint=hint)
        self.text = text
        self.status = status
        """gRPC's name of the code, e.g. FAILED_PRECONDITION."""


class Compacted(Refused):
    """The revision asked for is gone. `compact_revision` is the oldest one left, 0 where the cluster did not say."""

    code = "compacted"
    compact_revision = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed. `code` is gRPC's name of the status, `text` its details as they arrived."""

    endpoint: str
    code: str
    text: str
    silence: Silence
    reason: str
    """The same for people: short, without addresses."""

    @property
    def refusal(self) -> str:
        """etcd's own words without their prefix."""
        return self.text.rpartition("etcdserver: ")[2]

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.reason}"


# First match wins. A group in the pattern is shown in place of {}.
_TRANSPORT: tuple[tuple[str, Silence, str], ...] = (
    (r"CERTIFICATE_VERIFY_FAILED: (.+?)(?:: OK)?$", Silence.TLS, "TLS: its certificate is not accepted: {}"),
    (r"Hostname Verification Check failed", Silence.TLS, "TLS: its certificate is for other names"),
    (r"Unwrap failed|[Hh]andshake", Silence.TLS, "TLS handshake failed"),
    (r"Connection refused", Silence.REFUSED, "connection refused"),
    (r"No such file or directory", Silence.REFUSED, "there is no such socket file"),
    (r"Domain name not found|errors resolving|DNS resolution", Silence.NAME, "the host name is not known"),
    (r"HTTP/2|http2|http1|unknown service|Method not found", Silence.NOT_ETCD, "something answers that is not etcd"),
    (r"(no connection within .+)", Silence.TIMED_OUT, "{}"),
    (r"watchdog|ping timeout|[Tt]imed out|timeout", Silence.TIMED_OUT, "timed out"),
    (r"([Nn]o route to host|[Nn]etwork is unreachable|[Hh]ost is unreachable)", Silence.UNREACHABLE, "{}"),
    (r"Socket closed|Connection reset|Broken pipe|GOAWAY", Silence.UNREACHABLE, "the connection was closed"),
)
_DENIED = (
    "user name is empty",
    "authentication failed, invalid user ID or password",
    "permission denied",
    "invalid auth token",
    "user name not found",
)


def classify(endpoint: str, code: str, text: str) -> Failure:
    """A failure from gRPC's code name and details."""
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED") or any(part in text for part in _DENIED):
        return Failure(
            endpoint, code, text, Silence.ACCESS_DENIED, text.removeprefix("etcdserver: ").removeprefix("auth: ")
        )
    if "etcdserver: " in text:
        return Failure(endpoint, code, text, Silence.FAILED, text.removeprefix("etcdserver: "))
    if code == "DEADLINE_EXCEEDED":
        return Failure(endpoint, code, text, Silence.TIMED_OUT, "connected, but no answer in time")
    if code in ("UNAVAILABLE", "UNIMPLEMENTED", "INTERNAL", "UNKNOWN"):
        for pattern, silence, reason in _TRANSPORT:
            found = re.search(pattern, text)
            if found:
                return Failure(endpoint, code, text, silence, reason.format(*found.groups()))
    return Failure(endpoint, code, text, Silence.FAILED, f"{text} ({code})")


class AttemptsFailed(Exception):
    """The failed attempts behind an error: its `__cause__`, for whoever wants to know endpoint by endpoint."""

    def __init__(self, failures: Sequence[Failure]) -> None:
        super().__init__("; ".join(str(failure) for failure in failures))
        self.failures = tuple(failures)


def failures_of(error: EtcdopsError) -> tuple[Failure, ...]:
    """The failed attempts that led to `error`; none for an error that did not come from a request."""
    return error.__cause__.failures if isinstance(error.__cause__, AttemptsFailed) else ()


def _because(error: EtcdopsError, failures: Sequence[Failure]) -> EtcdopsError:
    error.__cause__ = AttemptsFailed(failures)
    return error


_HINTS: tuple[tuple[str, str], ...] = (
    ("database space exceeded", "compact, defragment every member, then disarm the NOSPACE alarm"),
    ("required revision has been compacted", "ask for a newer revision, or for the current one"),
    ("required revision is a future revision", "ask for an older revision; this member may lag behind"),
    ("request is too large", "send less at once, or raise --max-request-bytes on every member"),
    ("message larger than max", "send less at once, or raise --max-request-bytes on every member"),
    ("not leader", "send it to the leader: etcdops status shows it"),
    ("unhealthy cluster", "bring the silent members back first: etcdops status"),
    ("not enough started members", "start or remove the members that are not running: etcdops status"),
    ("member not found", "etcdops status lists the members and their IDs"),
    ("in sync with leader", "wait until the learner has caught up: etcdops status shows its lag"),
    ("corrupt cluster", "compare the members: etcdops status --hashes"),
)
_SICK = ("no leader", "request timed out", "leader changed", "unhealthy cluster", "corrupt cluster", "server stopped")


def refusal_error(failure: Failure, method_name: str) -> EtcdopsError:
    """The error for an answer that says no."""
    return _because(_refusal(failure, method_name), [failure])


def _refusal(failure: Failure, method_name: str) -> EtcdopsError:
    hint = next((hint for part, hint in _HINTS if part in failure.text), "") or remedy(failure.text)
    said = f"{failure.endpoint} refused {method_name}: {failure.reason}"
    if failure.silence is Silence.ACCESS_DENIED:
        return AccessDenied(said, hint=hint)
    if any(part in failure.text for part in _SICK):
        return Unhealthy(said, hint=hint or "etcdops status")
    if failure.silence is Silence.NOT_ETCD:
        cause = f"it answered: {failure.text}"
        return Unreachable(f"{failure.endpoint} does not know {method_name}", cause=cause, hint="check the endpoint")
    kind = Compacted if "has been compacted" in failure.text else Refused
    return kind(said, text=failure.refusal, status=failure.code, hint=hint)


def unknown_error(failure: Failure, method_name: str) -> EtcdopsError:
    """The error for a change whose answer never came: ResultUnknown."""
    error = ResultUnknown(
        f"{method_name} was sent to {failure.endpoint} and may or may not have taken effect",
        cause=failure.reason,
        hint="read what it would have changed before sending it again",
    )
    return _because(error, [failure])


def exhausted_error(failures: Sequence[Failure], method_name: str, effect: Effect, *, sent: bool) -> EtcdopsError:
    """The error when time is over: `failures` holds the last one of each endpoint, `sent` whether any request left."""
    if sent and effect is not Effect.READ:
        return unknown_error(failures[-1], method_name)
    return _because(_exhausted(failures, method_name), failures)


def _exhausted(failures: Sequence[Failure], method_name: str) -> EtcdopsError:
    cause = "; ".join(str(failure) for failure in failures)
    if any(part in failure.text for failure in failures for part in _SICK):
        return Unhealthy(
            f"the cluster could not do {method_name}: no quorum, or no leader",
            cause=cause,
            hint="etcdops status says who is missing and what is still possible",
        )
    who = failures[0].endpoint if len(failures) == 1 else f"none of {len(failures)} endpoints"
    verb = "did not answer" if len(failures) == 1 else "answered"
    return Unreachable(f"{who} {verb} {method_name}", cause=cause, hint=_reach_hint(failures))


def _reach_hint(failures: Sequence[Failure]) -> str:
    kinds = {failure.silence for failure in failures}
    if steps := dict.fromkeys(filter(None, (remedy(failure.reason) for failure in failures))):
        return "; ".join(steps)
    if Silence.TLS in kinds:
        return "check --cacert, --cert, --key and --server-name against the members' certificates"
    if kinds == {Silence.REFUSED}:
        return "is the member running, and is this its client port? --endpoints names others"
    if Silence.NOT_ETCD in kinds or Silence.NAME in kinds:
        return "check --endpoints"
    if kinds == {Silence.TIMED_OUT} and all("connected" in failure.reason for failure in failures):
        return "etcdops status says whether the quorum is lost; --command-timeout gives more time"
    if any("closed" in failure.reason for failure in failures):
        return "does this port speak TLS (https) or plain text (http)? check the scheme in --endpoints"
    return "etcdops status shows what each member says; --command-timeout gives more time"
