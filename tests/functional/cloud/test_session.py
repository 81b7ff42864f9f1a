# SPDX-License-Identifier: Apache-2.0
"""Sessions: credentials, projects, tokens that end, TLS, and a cloud that does not answer."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from kuryr import errors
from kuryr.cloud.ports import FixedIP, PortRequest, Ports
from kuryr.cloud.session import Cloud
from kuryr.testing.fake_cloud import FakeCloud

from .certificates import make_certificate
from .conftest import MakeCloud, configure

UNKNOWN = "11111111-2222-3333-4444-555555555555"


def list_networks(cloud: Cloud, project_id: str | None = None) -> None:
    cloud.project(project_id).request("GET", "/v2.0/networks", operation="list networks", type=dict)


def test_nothing_is_asked_before_a_call_is_made(cloud: Cloud, fake: FakeCloud) -> None:
    assert fake.journal.calls() == []


def test_a_call_is_observed_with_its_result(cloud: Cloud, observed: Counter[tuple[str, str]]) -> None:
    list_networks(cloud)
    list_networks(cloud)

    assert observed == {("authenticate", "201"): 1, ("list networks", "200"): 2}


def test_the_configured_project_by_id_is_the_configured_one(cloud: Cloud, fake: FakeCloud) -> None:
    list_networks(cloud)
    list_networks(cloud, fake.project_id)

    assert cloud.project().project_id == fake.project_id
    assert fake.journal.counts["authenticate"] == 1


def test_each_project_has_a_token_of_its_own(cloud: Cloud, fake: FakeCloud) -> None:
    tenant = fake.keystone.add_project("tenant")
    fake.keystone.grant(fake.user, tenant.id, "member", "service")

    list_networks(cloud)
    list_networks(cloud, tenant.id)
    list_networks(cloud, tenant.id)

    assert [call.project_id for call in fake.journal.calls("list networks")] == [
        fake.project_id,
        tenant.id,
        tenant.id,
    ]
    assert cloud.project(tenant.id) is cloud.project(tenant.id)


def test_a_project_without_a_role_is_refused_by_name(cloud: Cloud, fake: FakeCloud) -> None:
    tenant = fake.keystone.add_project("tenant")

    for project_id in (tenant.id, UNKNOWN):
        with pytest.raises(errors.CloudForbidden, match=project_id) as caught:
            list_networks(cloud, project_id)
        assert caught.value.reason == "ProjectNotAllowed"

    fake.keystone.grant(fake.user, tenant.id, "member")
    list_networks(cloud, tenant.id)


def test_an_administrator_needs_no_role_in_a_tenants_project(make_cloud: MakeCloud, fake: FakeCloud) -> None:
    tenant = fake.keystone.add_project("tenant")
    network = fake.make("networks", tenant.id, name="theirs")
    cloud = make_cloud(username="admin", project_name="admin")

    port = Ports(cloud).create(PortRequest(network_id=network["id"], project_id=tenant.id)).result()

    assert port.project_id == tenant.id
    assert fake.journal.counts["authenticate"] == 1
    assert [port.id] == [found.id for found in Ports(cloud).find(tenant.id, ids=[port.id]).result()]


def test_an_application_credential_works(make_cloud: MakeCloud, fake: FakeCloud) -> None:
    credential = fake.keystone.add_application_credential(fake.user, fake.project_id)
    cloud = make_cloud(
        "\n".join(
            (
                "[neutron]",
                "auth_type = v3applicationcredential",
                f"auth_url = {fake.auth_url}",
                f"application_credential_id = {credential.id}",
                f"application_credential_secret = {credential.secret}",
            )
        )
    )

    list_networks(cloud)
    list_networks(cloud, fake.project_id)

    assert cloud.project().project_id == fake.project_id
    assert fake.journal.counts["authenticate"] == 1


def test_false_credentials_are_said_without_the_password(
    make_cloud: MakeCloud, observed: Counter[tuple[str, str]]
) -> None:
    with pytest.raises(errors.CloudUnauthorized, match=r"\[neutron\]") as caught:
        list_networks(make_cloud(password="wrong-and-private"))

    assert "wrong-and-private" not in str(caught.value)
    assert observed == {("authenticate", "401"): 1}


def test_a_revoked_token_is_renewed_once(cloud: Cloud, fake: FakeCloud) -> None:
    list_networks(cloud)
    fake.keystone.revoke_tokens()

    list_networks(cloud)

    assert fake.journal.counts == {"authenticate": 2, "list networks": 3, "get versions": 1}


def test_sessions_of_one_project_renew_a_revoked_token_once(cloud: Cloud, fake: FakeCloud) -> None:
    for project_id in (None, fake.project_id):
        list_networks(cloud, project_id)
    fake.keystone.revoke_tokens()

    for project_id in (None, fake.project_id):
        list_networks(cloud, project_id)

    assert fake.journal.counts["authenticate"] == 2


def test_credentials_that_change_are_not_taken_for_a_missing_project(cloud: Cloud, fake: FakeCloud) -> None:
    list_networks(cloud, fake.project_id)
    fake.user.password = "another"
    fake.keystone.revoke_tokens()

    with pytest.raises(errors.CloudUnauthorized):
        list_networks(cloud, fake.project_id)


def test_a_fence_stops_what_would_change_something(cloud: Cloud, fake: FakeCloud) -> None:
    def fence() -> None:
        raise errors.Retry("not the holder any more")

    cloud.fence = fence
    list_networks(cloud)
    with pytest.raises(errors.Retry, match="holder"):
        Ports(cloud).delete(UNKNOWN).result()
    assert fake.journal.writes == 0


def test_the_fence_is_asked_after_keystone(cloud: Cloud, fake: FakeCloud) -> None:
    """Keystone may take longer than the Lease lasts."""
    tokens: list[int] = []
    cloud.fence = lambda: tokens.append(fake.journal.counts.get("authenticate", 0))
    Ports(cloud).delete(UNKNOWN).result()
    fake.keystone.revoke_tokens()
    Ports(cloud).delete(UNKNOWN).result()
    assert tokens == [1, 1, 2]


def test_many_calls_with_a_revoked_token_renew_it_once(cloud: Cloud, fake: FakeCloud) -> None:
    list_networks(cloud)
    fake.keystone.revoke_tokens()

    calls = [cloud.limiter.submit("list networks", "", lambda: list_networks(cloud)) for _ in range(8)]
    for call in calls:
        call.result()

    assert fake.journal.counts["authenticate"] == 2


def test_a_keystone_that_hangs_is_asked_once_by_all_that_wait(make_cloud: MakeCloud, fake: FakeCloud) -> None:
    fake.knobs.fail("authenticate", times=-1, kind="timeout")
    cloud = make_cloud(timeout="0.3")

    calls = [cloud.limiter.submit("list networks", "", lambda: list_networks(cloud)) for _ in range(8)]
    for call in calls:
        with pytest.raises(errors.CloudUnavailable, match="Keystone"):
            call.result()
    fake.close()

    assert fake.journal.counts["get versions"] < 4


def test_a_missing_option_is_named(make_cloud: MakeCloud) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"\[neutron\] auth_type is not set.*password"):
        make_cloud("[neutron]\nusername = x\n")
    with pytest.raises(errors.ConfigurationError, match=r"auth_type = nonsense"):
        make_cloud("[neutron]\nauth_type = nonsense\n")
    with pytest.raises(errors.ConfigurationError, match=r"auth.url"):
        make_cloud("[neutron]\nauth_type = password\nusername = x\n")


def test_a_missing_file_is_named(make_cloud: MakeCloud) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"\[neutron\] cafile = /nowhere/ca.crt"):
        make_cloud(cafile="/nowhere/ca.crt")


def test_an_endpoint_that_the_catalog_lacks_is_named(make_cloud: MakeCloud) -> None:
    with pytest.raises(errors.CloudError, match=r"RegionTwo.*region_name") as caught:
        list_networks(make_cloud(region_name="RegionTwo"))
    assert caught.value.reason == "EndpointNotFound"


def test_a_cloud_that_is_away_is_unavailable_and_comes_back(
    cloud: Cloud, fake: FakeCloud, observed: Counter[tuple[str, str]]
) -> None:
    list_networks(cloud)
    fake.knobs.fail("list networks", kind="drop_before")
    with pytest.raises(errors.CloudUnavailable, match="cannot be reached to list networks"):
        list_networks(cloud)

    list_networks(cloud)

    assert observed["list networks", "unreachable"] == 1
    assert observed["list networks", "200"] == 2


def test_keystone_away_is_unavailable(make_cloud: MakeCloud) -> None:
    cloud = make_cloud(auth_url="http://127.0.0.1:1/identity/v3")
    with pytest.raises(errors.CloudUnavailable, match=r"Keystone .*127.0.0.1:1.* cannot be reached"):
        list_networks(cloud)


def test_no_answer_in_time_is_unavailable(
    make_cloud: MakeCloud, fake: FakeCloud, observed: Counter[tuple[str, str]]
) -> None:
    fake.knobs.fail("list networks", kind="timeout")
    with pytest.raises(errors.CloudUnavailable, match=r"did not answer list networks within 0.3 s.*timeout"):
        list_networks(make_cloud(timeout="0.3"))
    assert observed["list networks", "timeout"] == 1


@pytest.mark.parametrize(
    ("status", "headers", "expected", "wait"),
    [
        (429, {"Retry-After": "7"}, errors.CloudThrottled, 7),
        (429, {}, errors.CloudThrottled, None),
        (503, {"Retry-After": "2"}, errors.CloudThrottled, 2),
        (503, {}, errors.CloudUnavailable, None),
        (502, {}, errors.CloudUnavailable, None),
        (500, {}, errors.CloudUnavailable, None),
    ],
)
def test_a_struggling_cloud(
    cloud: Cloud,
    fake: FakeCloud,
    status: int,
    headers: dict[str, str],
    expected: type[errors.CloudError],
    wait: float | None,
) -> None:
    fake.knobs.fail("list networks", status=status, headers=headers, body=b"<html>Bad day</html>")
    with pytest.raises(errors.CloudError) as caught:
        list_networks(cloud)
    assert type(caught.value) is expected
    assert caught.value.retry_after == wait
    assert caught.value.status == status
    assert "html" not in str(caught.value)


def test_tls_is_verified_and_the_error_names_the_option(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with FakeCloud(tls=context) as fake:
        clouds = [
            Cloud(
                configure(
                    tmp_path / f"{name}.conf",
                    fake.configuration(fake.options()).replace("[neutron]", section, 1),
                )
            )
            for name, section in (
                ("verified", "[neutron]"),
                ("trusting", f"[neutron]\ncafile = {certificate}"),
            )
        ]
        with pytest.raises(errors.CloudUnavailable, match=r"\[neutron\] cafile") as caught:
            list_networks(clouds[0])
        list_networks(clouds[1])
        for cloud in clouds:
            cloud.close(1)
    assert caught.value.reason == "TLSVerificationFailed"


def test_closing_refuses_calls_and_lets_go_of_those_queued(cloud: Cloud, fake: FakeCloud) -> None:
    fake.knobs.fail("create port", times=-1, kind="timeout")
    ports = Ports(cloud)
    subnet = fake.subnets["pods"][4]
    network = fake.items("subnets")[0]["network_id"]
    request = PortRequest(network_id=network, fixed_ips=(FixedIP(subnet),))
    in_flight = cloud.limiter.limit("create port")
    calls = [ports.create(request) for _ in range(20)]

    abandoned = cloud.close(0.1)

    assert abandoned == sum(not call.done() for call in calls) == in_flight
    assert sum(call.cancelled() for call in calls) == 20 - in_flight
    with pytest.raises(errors.CloudUnavailable, match="stopping"):
        ports.create(request).result()


def test_openstacksdk_shares_the_token(cloud: Cloud, fake: FakeCloud) -> None:
    list_networks(cloud)
    connection = cloud.project().connection

    assert {network.name for network in connection.network.networks()} == {"pods", "pods2", "services"}
    made = connection.network.create_port(network_id=next(connection.network.networks(name="pods")).id)
    connection.network.delete_port(made.id)

    assert fake.journal.counts["authenticate"] == 1
    assert cloud.project().connection is connection


def test_openstacksdk_in_another_project_acts_there(cloud: Cloud, fake: FakeCloud) -> None:
    tenant = fake.keystone.add_project("tenant")
    fake.keystone.grant(fake.user, tenant.id, "member")

    made = cloud.project(tenant.id).connection.network.create_network(name="theirs")

    assert made.project_id == tenant.id


def test_openstacksdk_changes_nothing_beyond_the_fence(cloud: Cloud, fake: FakeCloud) -> None:
    def fence() -> None:
        raise errors.Retry("not the holder")

    cloud.fence = fence
    connection = cloud.project().connection
    list(connection.network.networks())
    with pytest.raises(errors.Retry, match="not the holder"):
        connection.network.create_network(name="late")

    assert "create network" not in fake.journal.counts


def test_openstacksdk_is_not_loaded_unless_it_is_asked_for() -> None:
    program = "import sys, kuryr.cloud.session; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
