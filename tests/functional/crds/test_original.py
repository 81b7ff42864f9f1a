# SPDX-License-Identifier: Apache-2.0
"""What the original wrote is valid as it stands, created anew or found under an upgraded CRD."""

from collections.abc import Iterator

import pytest

from kuryr.k8s.client import Client
from kuryr.k8s.errors import NotFound
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, Resource
from tests.functional.crds.kinds import HERE, Anything, original_objects
from tests.functional.crds.kubectl import Kubectl
from tests.functional.kubernetes import CRDS, KubernetesApi, MissingProgramError, wait_until

CONDITION = {"type": "Test", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00.000001Z"}
STATUSLESS = "NetworkAttachmentDefinition"


def test_original_objects_are_accepted_unchanged(api_client: Client, namespace: str) -> None:
    for resource, item in original_objects():
        item["metadata"]["namespace"] = namespace
        api_client.create(resource, namespace, item)
        key = Key(namespace, item["metadata"]["name"])
        if "status" in item:
            api_client.merge_patch(resource, key, {"status": item["status"]}, subresource="status")
        stored = api_client.get(resource, key)
        assert stored.spec == item.get("spec")
        assert stored.status == item.get("status")
        assert stored.metadata.finalizers == item["metadata"].get("finalizers", [])
        assert stored.metadata.labels == item["metadata"].get("labels", {})


@pytest.fixture
def original_cluster() -> Iterator[KubernetesApi]:
    """An API of its own with the original's CRDs and objects."""
    try:
        with KubernetesApi() as api:
            kubectl = Kubectl(api)
            kubectl("apply", "-f", str(HERE / "original_crds.yaml"))
            kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
            client = api.client()
            client.create(NAMESPACES, "", {"metadata": {"name": "shop"}})
            for resource, item in original_objects():
                client.create(resource, "shop", item)
            client.close()
            yield api
    except MissingProgramError as error:
        pytest.fail(str(error))


def test_upgrade_of_the_crds_keeps_what_is_there(original_cluster: KubernetesApi) -> None:
    client, kubectl = original_cluster.client(), Kubectl(original_cluster)
    before = _read(client)
    assert any(obj.status for obj in before.values())

    kubectl("apply", "-f", str(CRDS))
    for resource, item in original_objects():
        key = Key("shop", item["metadata"]["name"])
        if item["kind"] == STATUSLESS:
            continue
        wait_until(
            lambda resource=resource, key=key: _written_by_status(client, resource, key),
            f"{resource.plural} are served with the status subresource",
        )

    after = _read(client)
    for key, obj in before.items():
        assert (after[key].spec, after[key].metadata.finalizers) == (obj.spec, obj.metadata.finalizers)
        if key[0] == STATUSLESS:
            continue
        assert after[key].status == {**obj.status, "conditions": [CONDITION]}

    # Status is no longer written along with the rest, and the other way round.
    resource, item = original_objects()[0]
    key = Key("shop", item["metadata"]["name"])
    touched = client.merge_patch(resource, key, {"metadata": {"labels": {"a": "b"}}, "status": None})
    assert touched.status == after[item["kind"], item["metadata"]["name"]].status
    client.close()


def _read(client: Client) -> dict[tuple[str, str], Anything]:
    return {
        (item["kind"], item["metadata"]["name"]): client.get(resource, Key("shop", item["metadata"]["name"]))
        for resource, item in original_objects()
    }


def _written_by_status(client: Client, resource: Resource[Anything], key: Key) -> bool:
    try:
        client.merge_patch(resource, key, {"status": {"conditions": [CONDITION]}}, subresource="status")
    except NotFound:
        return False
    return True
