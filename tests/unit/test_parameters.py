"""`backend_parameters` and what comes of them."""

from __future__ import annotations

import pytest

from wesgate.core.errors import InvalidRequest
from wesgate.core.spec import MissingOutputs
from wesgate.ga4gh.dialects import BY_NAME, UNKNOWN
from wesgate.ga4gh.parameters import KNOWN, Site, agree

SITE = Site(max_attempts=3, max_preemptions=5, timeout_s=3600, gpus=1)


def test_without_any_the_site_and_the_submitter_decide() -> None:
    terms = agree({}, False, SITE, BY_NAME["cromwell"]).terms
    assert (terms.max_attempts, terms.max_preemptions, terms.policy.timeout_s) == (3, 5, 3600)
    assert terms.policy.missing_outputs is MissingOutputs.SKIP
    assert not terms.policy.image_entrypoint


def test_keys_are_compared_without_case_and_kept_as_they_were_sent() -> None:
    agreed = agree({"Timeout_S": "60", "GPUS": "1"}, True, SITE, UNKNOWN)
    assert agreed.kept == {"Timeout_S": "60", "GPUS": "1"}
    assert (agreed.terms.policy.timeout_s, agreed.terms.policy.gpus) == (60, 1)


def test_a_key_may_not_be_there_in_two_spellings() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        agree({"timeout_s": "1", "TIMEOUT_S": "2"}, False, SITE, UNKNOWN)


def test_what_is_not_known_is_left_out_and_told() -> None:
    agreed = agree({"vm_size": "large", "max_attempts": "2"}, False, SITE, UNKNOWN)
    assert agreed.kept == {"max_attempts": "2"}
    assert agreed.warnings == ("backend_parameters that this service does not know were left out: vm_size",)


@pytest.mark.parametrize(("key", "most"), [("timeout_s", 3600), ("max_attempts", 3), ("max_preemptions", 5)])
def test_what_is_more_than_the_site_allows_is_cut_and_told(key: str, most: int) -> None:
    agreed = agree({key: "100000"}, False, SITE, UNKNOWN)
    terms = agreed.terms
    told = {"timeout_s": terms.policy.timeout_s, "max_attempts": terms.max_attempts,
            "max_preemptions": terms.max_preemptions}  # fmt: skip
    assert told[key] == most
    assert agreed.warnings == (f"backend_parameters.{key} is more than this site allows and counts as {most}",)


@pytest.mark.parametrize("key", KNOWN)
@pytest.mark.parametrize("value", ["", "-1", "1e3", "\u0663", "NaN", "inf", "no", " 1", "9" * 40])
def test_a_value_that_nobody_can_read_is_left_out_or_refused(key: str, value: str) -> None:
    agreed = agree({key: value}, False, SITE, UNKNOWN)
    assert agreed.kept == {}
    assert agreed.terms == agree({}, False, SITE, UNKNOWN).terms
    assert agreed.warnings[0].startswith(f"backend_parameters.{key} was left out: it is ")
    with pytest.raises(InvalidRequest, match="strict"):
        agree({key: value}, True, SITE, UNKNOWN)


def test_more_gpus_than_there_are_is_refused_before_anything_runs_without_them() -> None:
    with pytest.raises(InvalidRequest, match="only 1"):
        agree({"gpus": "2"}, False, SITE, UNKNOWN)


@pytest.mark.parametrize("parameters", [{"vm_size": "large"}, {"max_attempts": "99"}])
def test_a_strict_task_is_refused_for_what_would_only_be_told(parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="backend_parameters_strict"):
        agree(parameters, True, SITE, UNKNOWN)
