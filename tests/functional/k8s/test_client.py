# SPDX-License-Identifier: Apache-2.0
import threading
from pathlib import Path

import msgspec
import pytest

from kuryr.k8s.apply import add_finalizer, remove_finalizer
from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict, Forbidden, Invalid, NotFound, Unauthorized, Unavailable
from kuryr.k8s.settings import ApiSettings
from kuryr.objects.meta import Key
from kuryr.objects.resources import NAMESPACES, PODS
from tests.functional.k8s.pods import create_pod, delete_pod, pod_body
from tests.functional.kubernetes import Authority, KubernetesApi


def test_an_object_from_creation_to_deletion(api_client: Client, namespace: str) -> None:
    key = Key(namespace, "web")
    made = create_pod(api_client, namespace, "web", labels={"app": "web"})
    assert made.key == key
    assert made.kind == "Pod"
    with pytest.raises(Conflict) as caught:
        create_pod(api_client, namespace, "web")
    assert caught.value.already_exists

    patched = api_client.merge_patch(PODS, key, {"metadata": {"annotations": {"a": "b"}}})
    assert patched.metadata.annotations == {"a": "b"}
    status = api_client.merge_patch(PODS, key, {"status": {"phase": "Running"}}, subresource="status")
    assert status.status.phase == "Running"
    with pytest.raises(Conflict):
        api_client.merge_patch(PODS, key, {"metadata": {"resourceVersion": made.metadata.resource_version}})
    with pytest.raises(Invalid, match="spec"):
        api_client.merge_patch(PODS, key, {"spec": {"nodeName": "not possible"}})

    with pytest.raises(Conflict):
        api_client.delete(PODS, key, uid="00000000-0000-0000-0000-000000000000", grace_period_seconds=0)
    api_client.delete(PODS, key, uid=made.metadata.uid, grace_period_seconds=0)
    with pytest.raises(NotFound, match="get pods: HTTP 404"):
        api_client.get(PODS, key)


def test_finalizers_hold_an_object(api_client: Client, namespace: str) -> None:
    pod = create_pod(api_client, namespace, "held")
    patch = add_finalizer(pod, "example.com/one")
    assert patch is not None
    pod = api_client.merge_patch(PODS, pod.key, patch)
    delete_pod(api_client, namespace, "held")
    pod = api_client.get(PODS, pod.key)
    assert pod.deleting
    patch = remove_finalizer(pod, "example.com/one")
    assert patch is not None
    api_client.merge_patch(PODS, pod.key, patch)
    with pytest.raises(NotFound):
        api_client.get(PODS, pod.key)


def test_apply_owns_its_fields_only(api_client: Client) -> None:
    key = Key("", "applied")
    body = {"metadata": {"name": "applied", "labels": {"one": "1"}}}
    api_client.apply(NAMESPACES, key, body, field_manager="first")
    other = {"metadata": {"name": "applied", "labels": {"two": "2"}}}
    both = api_client.apply(NAMESPACES, key, other, field_manager="second")
    assert {"one", "two"} <= both.metadata.labels.keys()
    body["metadata"] = {"name": "applied", "labels": {"one": "x"}}
    with pytest.raises(Conflict):
        api_client.apply(NAMESPACES, key, body, field_manager="second")
    api_client.apply(NAMESPACES, key, other, field_manager="first")
    assert "one" not in api_client.get(NAMESPACES, key).metadata.labels


def test_a_list_is_read_in_pages(kubernetes_api: KubernetesApi, api_client: Client, namespace: str) -> None:
    for number in range(7):
        create_pod(api_client, namespace, f"pod-{number}", labels={"odd": str(number % 2)})
    calls: list[str] = []
    client = Client(kubernetes_api.settings(), observe=lambda operation, *_: calls.append(operation))
    listed = client.list(PODS, namespace=namespace, limit=3)
    assert sorted(pod.metadata.name for pod in listed.items) == [f"pod-{number}" for number in range(7)]
    assert {(pod.api_version, pod.kind) for pod in listed.items} == {("v1", "Pod")}
    assert calls == ["list pods"] * 3
    assert len(client.list(PODS, namespace=namespace, label_selector="odd=1").items) == 3
    assert len(client.list(PODS, namespace=namespace, field_selector="metadata.name=pod-1").items) == 1
    client.close()


def test_threads_share_a_client(api_client: Client, namespace: str) -> None:
    errors: list[BaseException] = []

    def work(thread: int) -> None:
        try:
            for number in range(5):
                create_pod(api_client, namespace, f"pod-{thread}-{number}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(api_client.list(PODS, namespace=namespace).items) == 40


def test_a_rotated_token_is_used(kubernetes_api: KubernetesApi, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("no longer good")
    client = Client(msgspec.structs.replace(kubernetes_api.settings(), token_file=str(file)))
    with pytest.raises(Unauthorized):
        client.list(NAMESPACES)
    (tmp_path / "new").write_text(kubernetes_api.tokens["admin"] + "\n")
    (tmp_path / "new").replace(file)
    assert client.list(NAMESPACES).items
    client.close()


def test_a_client_certificate_authenticates(kubernetes_api: KubernetesApi) -> None:
    crt, key = kubernetes_api.authority.issue("somebody", organisation="system:masters")
    settings = kubernetes_api.settings(token_file="", client_cert_file=str(crt), client_key_file=str(key))
    client = Client(settings)
    assert client.list(NAMESPACES).items
    client.close()


def test_rights_are_asked_for(kubernetes_api: KubernetesApi, namespace: str) -> None:
    account = kubernetes_api.service_account_client(namespace, "nobody")
    assert not account.access_review("create", PODS, namespace)
    with pytest.raises(Forbidden, match="pods is forbidden"):
        account.list(PODS)
    account.close()
    admin = kubernetes_api.client()
    assert admin.access_review("create", PODS, namespace)
    assert admin.access_review("patch", PODS, subresource="status")
    assert admin.server_version().startswith("v1.")
    admin.close()


def test_an_unknown_ca_is_told_with_its_option(kubernetes_api: KubernetesApi, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other-ca")
    client = kubernetes_api.client(ca_file=str(other.file))
    with pytest.raises(Unavailable, match=rf"ssl_ca_crt_file = {other.file}.*certificate verify failed"):
        client.list(NAMESPACES)
    client.close()
    trusting = kubernetes_api.client(ca_file="", verify=False)
    assert trusting.list(NAMESPACES).items
    trusting.close()


def test_calls_go_through_after_a_restart(
    kubernetes_api: KubernetesApi, api_client: Client, namespace: str
) -> None:
    create_pod(api_client, namespace, "before")
    kubernetes_api.restart()
    assert [pod.metadata.name for pod in api_client.list(PODS, namespace=namespace).items] == ["before"]
    create_pod(api_client, namespace, "after")


def test_nobody_there_is_unavailable() -> None:
    client = Client(ApiSettings(api_root="http://127.0.0.1:1"))
    with pytest.raises(Unavailable, match=r"create pods: no answer: http://127.0.0.1:1: .*refused"):
        client.create(PODS, "default", pod_body("web"))
