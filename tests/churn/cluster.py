# SPDX-License-Identifier: Apache-2.0
"""A simulated cluster's life: what users, the scheduler, kubelets and the pod garbage collector do to pods and nodes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from kuryr.k8s.client import Client
from kuryr.k8s.errors import Conflict, NotFound
from kuryr.objects.kuryrport import KuryrPort
from kuryr.objects.meta import Key, KubernetesObject
from kuryr.objects.resources import KURYRPORTS, NAMESPACES, NODES, PODS, Resource
from tests.churn.run import Life

BINDINGS = Resource("", "v1", "bindings", "Binding", KubernetesObject)
MIRROR = {"annotations": {"kubernetes.io/config.mirror": "0123456789abcdef"}}
GRACE = 30
"""Seconds that a pod is asked to end in; its kubelet is quicker."""


class Cluster:
    """Pods in several namespaces on several nodes. Steps are taken in one thread.

    :ivar created: how many pods there ever were.
    """

    def __init__(
        self,
        client: Client,
        life: Life,
        kuryrports: Callable[[], list[KuryrPort]],
        *,
        prefix: str,
        most: int,
        nodes: int = 4,
        namespaces: int = 3,
    ) -> None:
        """Furnish it.

        :param most: pods at a time, about.
        :param prefix: of the names of namespaces and nodes.
        """
        self._client = client
        self._life = life
        self._kuryrports = kuryrports
        self._most = most
        self._random = life.random
        self._numbers = itertools.count(1)
        self._pods: dict[Key, str] = {}
        self._terminating: set[Key] = set()
        self._unscheduled: set[Key] = set()
        self._nodes: set[str] = set()
        self.created = 0
        self.namespaces = [f"{prefix}-{number}" for number in range(namespaces)]
        for name in self.namespaces:
            client.create(NAMESPACES, "", {"metadata": {"name": name}})
        for number in range(nodes):
            self._create_node(f"{prefix}-node-{number}")
        for name, weight, step in (
            ("burst of pods", 6, self.burst),
            ("pod created", 20, self.create_one),
            ("pod of the host's network", 1, self.create_host),
            ("static pod", 2, self.create_static),
            ("pod without node", 2, self.create_unscheduled),
            ("pod scheduled", 3, self.schedule),
            ("pods deleted", 16, self.delete),
            ("pods ended", 16, self.end),
            ("pods force-deleted", 8, self.force_delete),
            ("pods recreated", 10, self.recreate),
            ("pods completed", 4, self.complete),
            ("pods relabelled", 3, self.relabel),
            ("KuryrPort deleted by hand", 1, self.delete_kuryrport),
            ("node deleted", 1.5, self.delete_node),
        ):
            life.add(name, weight, step)

    # Steps

    def burst(self) -> None:
        for _ in range(self._random.randint(5, 40)):
            if len(self._pods) >= self._most:
                self.force_delete()
                return
            self.create_one()

    def create_one(self) -> None:
        self._create(self._new_key())

    def create_host(self) -> None:
        self._create(self._new_key(), spec={"hostNetwork": True})

    def create_static(self) -> None:
        self._create(self._new_key(), metadata=MIRROR)

    def create_unscheduled(self) -> None:
        key = self._new_key()
        self._unscheduled.add(key)
        self._create(key, spec={"nodeName": None})

    def schedule(self) -> None:
        for key in self._some(self._unscheduled):
            self._unscheduled.discard(key)
            node = self._random.choice(sorted(self._nodes))
            target = {"apiVersion": "v1", "kind": "Node", "name": node}
            with suppress(NotFound, Conflict):
                self._client.create(
                    BINDINGS, key.namespace, {"metadata": {"name": key.name}, "target": target}
                )
                self._pods[key] = node

    def delete(self) -> None:
        """As a user does; the kubelet ends them later."""
        for key in self._some(self._pods.keys() - self._terminating):
            self._terminating.add(key)
            self._delete(key, GRACE)

    def end(self) -> None:
        for key in self._some(self._terminating):
            self._gone(key)

    def force_delete(self) -> None:
        for key in self._some(self._pods):
            self._gone(key)

    def recreate(self) -> None:
        """Under the same names, some again and again, as a StatefulSet does."""
        for key in self._some(self._pods):
            for _ in range(self._random.choice((1, 1, 1, 2, 4))):
                self._gone(key)
                self._create(key)

    def complete(self) -> None:
        for key in self._some(self._pods):
            phase = self._random.choice(("Succeeded", "Failed"))
            with suppress(NotFound):
                self._client.merge_patch(PODS, key, {"status": {"phase": phase}}, subresource="status")

    def relabel(self) -> None:
        for key in self._some(self._pods):
            labels = {"metadata": {"labels": {"churn": str(next(self._numbers))}}}
            with suppress(NotFound):
                self._client.merge_patch(PODS, key, labels)

    def delete_kuryrport(self) -> None:
        found = [port.key for port in self._kuryrports() if port.spec.owner_kind == "Pod"]
        for key in self._some(found)[:1]:
            with suppress(NotFound):
                self._client.delete(KURYRPORTS, key)

    def delete_node(self) -> None:
        """With a node its pods go, sooner or later; it comes back as another of the same name."""
        if len(self._nodes) < 3:
            return
        name = self._random.choice(sorted(self._nodes))
        self._nodes.discard(name)
        self._client.delete(NODES, Key("", name))
        for key in [key for key, node in self._pods.items() if node == name]:
            if self._random.random() < 0.5:
                self._gone(key)
            else:
                self._life.later(
                    self._random.uniform(0, 5),
                    "pod of a deleted node collected",
                    partial(self._gone, key),
                )
        self._life.later(self._random.uniform(1, 20), "node created", lambda: self._create_node(name))

    def finish(self) -> None:
        """What kubelets are still to end, and pods of nodes that are not there."""
        for key in list(self._terminating):
            self._gone(key)
        for key, node in list(self._pods.items()):
            if node and node not in self._nodes:
                self._gone(key)

    # Doing it

    def _new_key(self) -> Key:
        return Key(self._random.choice(self.namespaces), f"pod-{next(self._numbers)}")

    def _some(self, keys: Any) -> list[Key]:
        """One or a few, seldom many."""
        ordered = sorted(keys)
        number = self._random.choice((1, 1, 2, 3, 5, 20))
        return self._random.sample(ordered, min(number, len(ordered)))

    def _create(self, key: Key, **changes: dict[str, Any]) -> None:
        node = self._random.choice(sorted(self._nodes))
        containers = [{"name": "c", "image": "none"}]
        spec = {"nodeName": node, "containers": containers, **changes.get("spec", {})}
        metadata = {"name": key.name, **changes.get("metadata", {})}
        self._client.create(PODS, key.namespace, {"metadata": metadata, "spec": spec})
        self._pods[key] = spec["nodeName"] or ""
        self.created += 1

    def _delete(self, key: Key, grace: int) -> None:
        with suppress(NotFound):
            self._client.delete(PODS, key, grace_period_seconds=grace)

    def _gone(self, key: Key) -> None:
        self._delete(key, 0)
        self._terminating.discard(key)
        self._unscheduled.discard(key)
        self._pods.pop(key, None)

    def _create_node(self, name: str) -> None:
        self._client.create(NODES, "", {"metadata": {"name": name}})
        self._nodes.add(name)
