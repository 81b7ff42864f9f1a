# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kuryr import errors
from kuryr.cloud.rest import failure, parse_error, retry_after


def neutron(type: str, message: str) -> bytes:
    return json.dumps({"NeutronError": {"type": type, "message": message, "detail": ""}}).encode()


@pytest.mark.parametrize(
    ("status", "type", "message", "expected"),
    [
        (
            409,
            "IpAddressGenerationFailure",
            "No more IP addresses available on network n.",
            errors.SubnetFull,
        ),
        (409, "IpAddressGenerationFailureAllSubnets", "No more IP addresses available.", errors.SubnetFull),
        (409, "OverQuota", "Quota exceeded for resources: ['port'].", errors.QuotaExceeded),
        (409, "IpAddressAlreadyAllocated", "IP address i already allocated", errors.AddressInUse),
        (409, "MacAddressInUse", "The mac address m is in use.", errors.AddressInUse),
        (
            409,
            "Conflict",
            "HTTP 409 OverQuota: Quota exceeded for resources: ['port'].",
            errors.QuotaExceeded,
        ),
        (409, "SecurityGroupRuleExists", "already exists", errors.CloudConflict),
        (412, "RevisionNumberConstraintFailed", "Constrained to 1", errors.CloudConflict),
        (404, "SecurityGroupNotFound", "Security group g does not exist", errors.CloudNotFound),
        (404, "HTTPNotFound", "The resource could not be found.", errors.CloudNotFound),
        (403, "PolicyNotAuthorized", "rule:create_port is disallowed by policy", errors.CloudForbidden),
        (400, "HTTPBadRequest", "Unrecognized attribute(s) 'x'", errors.CloudBadRequest),
        (400, "InvalidIpForSubnet", "IP address i is not a valid IP", errors.CloudBadRequest),
        (500, "HTTPInternalServerError", "Request Failed", errors.CloudUnavailable),
        (503, "MacAddressGenerationFailure", "Unable to generate unique mac", errors.CloudUnavailable),
    ],
)
def test_neutrons_errors(status: int, type: str, message: str, expected: type[errors.CloudError]) -> None:
    error = failure("create port", status, neutron(type, message), {}, now=0)
    assert error.__class__ is expected
    assert message in str(error)
    assert "create port" in str(error)
    assert (error.status, error.operation) == (status, "create port")


@pytest.mark.parametrize(
    ("status", "type", "reason"),
    [
        (404, "SecurityGroupNotFound", "SecurityGroupNotFound"),
        (404, "HTTPNotFound", "CloudNotFound"),
        (409, "SecurityGroupRuleExists", "SecurityGroupRuleExists"),
        (409, "OverQuota", "QuotaExceeded"),
        (412, "RevisionNumberConstraintFailed", "RevisionConflict"),
        (403, "PolicyNotAuthorized", "CloudForbidden"),
    ],
)
def test_the_reason_says_as_much_as_is_known(status: int, type: str, reason: str) -> None:
    assert failure("create port", status, neutron(type, "text"), {}, now=0).reason == reason


def test_a_proxys_page_is_not_repeated() -> None:
    error = failure("create port", 502, b"<html><body>Bad gateway</body></html>", {}, now=0)
    assert str(error) == "Neutron failed to create port (HTTP 502): HTTP status 502"


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after({"Retry-After": "5"}, 0) == 5
    assert retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 20) == 40
    assert retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, 90) == 0
    assert retry_after({"Retry-After": "soon"}, 0) is None
    assert retry_after({}, 0) is None


def test_keystones_and_plain_errors_are_read() -> None:
    keystone = {"error": {"code": 401, "message": "requires authentication", "title": "Unauthorized"}}
    assert parse_error(json.dumps(keystone).encode()).message == "requires authentication"
    assert parse_error(b'{"NeutronError": "plain"}').message == "plain"


@given(st.integers(400, 599), st.binary(max_size=60))
def test_any_body_is_an_error_of_ours(status: int, body: bytes) -> None:
    assert failure("list ports", status, body, {}, now=0).status == status


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["NeutronError", "error", "type"]), inner)
        ),
        max_leaves=6,
    )
)
def test_any_json_is_an_error_of_ours(body: object) -> None:
    assert failure("list ports", 409, json.dumps(body).encode(), {}, now=0).status == 409
