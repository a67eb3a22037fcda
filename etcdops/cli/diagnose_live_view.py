"""A diagnosis of logs together with what was seen live, as one document."""

from __future__ import annotations

import json

from etcdops.cli.diagnose_view import diagnosis_json
from etcdops.cli.doctor_view import examination_json
from etcdops.cli.finding_view import finding_json
from etcdops.cli.output import Json
from etcdops.client.view import ClusterView
from etcdops.diagnosis.finding import Diagnosis, Finding
from etcdops.doctor.examine import Examination
from etcdops.ids import format_id


def whole_json(diagnosis: Diagnosis, examination: Examination, language: str) -> str:
    """The document of `diagnose --json` with `live`, the one of `doctor --json`; causes proved live come first.

    `proved_live` of a finding names the live finding that it is told with, else it is null; `explains_live` are those
    that it accounts for and that stand nowhere else. Fields are only ever added.
    """
    order = in_order(diagnosis, examination)
    body: dict[str, Json] = json.loads(diagnosis_json(_with(diagnosis, order), language))
    findings = body["findings"]
    assert isinstance(findings, list)
    for shown, finding in zip(findings, order, strict=True):
        assert isinstance(shown, dict)
        shown["proved_live"] = _prover(finding, examination)
        shown["explains_live"] = [finding_json(one, language) for one in examination.below.get(finding, ())]
    live = examination_json(examination, language)
    del live["logs"]  # they are the findings above
    body["healthy"] = examination.healthy
    body["live"] = live
    return json.dumps(body, indent=2, ensure_ascii=False)


def in_order(diagnosis: Diagnosis, examination: Examination) -> tuple[Finding, ...]:
    """The findings of logs: first those that the look has to do with, then the others, each in the order they had."""
    return tuple(
        sorted(diagnosis.findings, key=lambda one: _prover(one, examination) is None and not examination.below.get(one))
    )


def members_listed(view: ClusterView | None) -> dict[str, str]:
    """ID -> name, as the member list says."""
    listed = view.members if view is not None else ()
    return {format_id(one.id): one.name for one in listed if one.id and one.name}


def _prover(finding: Finding, examination: Examination) -> str | None:
    proof = examination.proofs.get(finding)
    return f"{proof.code} {proof.subject}" if proof is not None else None


def _with(diagnosis: Diagnosis, findings: tuple[Finding, ...]) -> Diagnosis:
    return Diagnosis(findings, diagnosis.sources, diagnosis.unexplained, diagnosis.timeline)
