# SPDX-License-Identifier: Apache-2.0
"""Keystone v3, as far as a service user needs it: tokens by password and application credential, catalog, roles."""

from __future__ import annotations

import json
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from kuryr.testing.fake_cloud.errors import KeystoneError, unauthorized

DOMAIN = {"id": "default", "name": "Default"}


class Project(msgspec.Struct, frozen=True):
    """A project of the domain ``Default``."""

    id: str
    name: str


class User(msgspec.Struct):
    """A user and its roles, by project id."""

    id: str
    name: str
    password: str
    roles: dict[str, frozenset[str]] = {}


class ApplicationCredential(msgspec.Struct, frozen=True):
    """Credentials bound to one project."""

    id: str
    secret: str
    user_id: str
    project_id: str
    roles: frozenset[str]


class Token(msgspec.Struct, frozen=True):
    """Who may do what where. ``expires`` is Unix time."""

    id: str
    user_id: str
    user: str
    project_id: str
    roles: frozenset[str]
    expires: float

    @property
    def admin(self) -> bool:
        """Whether it is an administrator's."""
        return "admin" in self.roles


class Keystone:
    """Users, projects, tokens. Thread-safe."""

    def __init__(self, token_seconds: float = 3600) -> None:
        self.token_seconds = token_seconds
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.credentials: dict[str, ApplicationCredential] = {}
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def add_project(self, name: str) -> Project:
        """Make a project."""
        project = Project(id=uuid.uuid4().hex, name=name)
        self.projects[project.id] = project
        return project

    def add_user(self, name: str, password: str, roles: dict[str, set[str]]) -> User:
        """Make a user with roles by project id."""
        user = User(uuid.uuid4().hex, name, password, {key: frozenset(value) for key, value in roles.items()})
        self.users[user.id] = user
        return user

    def grant(self, user: User, project_id: str, *roles: str) -> None:
        """Give a user roles in a project (none takes them all away). Tokens keep the roles they have."""
        user.roles = {**user.roles, project_id: frozenset(roles)}

    def add_application_credential(self, user: User, project_id: str) -> ApplicationCredential:
        """Make an application credential with the user's roles in the project."""
        made = ApplicationCredential(
            uuid.uuid4().hex, uuid.uuid4().hex, user.id, project_id, user.roles[project_id]
        )
        self.credentials[made.id] = made
        return made

    def revoke_tokens(self) -> None:
        """Let no token be valid any more."""
        with self._lock:
            self._tokens.clear()

    def token(self, token_id: str) -> Token:
        """The valid token of that id.

        :raises KeystoneError: 401 where there is none.
        """
        token = self._tokens.get(token_id)
        if token is None or token.expires < time.time():
            raise unauthorized()
        return token

    def authenticate(self, body: Any) -> Token:
        """A new token for a request's body."""
        identity = body["auth"]["identity"]
        method = identity["methods"][0]
        if method == "password":
            user = self._user_by_password(identity["password"]["user"])
            project_id = self._scope(body["auth"].get("scope"))
            roles = user.roles.get(project_id, frozenset())
        elif method == "application_credential":
            asked = identity["application_credential"]
            credential = self.credentials.get(asked.get("id", ""))
            if credential is None or credential.secret != asked.get("secret"):
                raise unauthorized()
            user, project_id, roles = self.users[credential.user_id], credential.project_id, credential.roles
        else:
            raise KeystoneError(
                401, "Unauthorized", f"Attempted to authenticate with an unsupported {method}"
            )
        if not roles:
            # Keystone tells no more to a user without a role in the project.
            raise unauthorized()
        token = Token(
            uuid.uuid4().hex, user.id, user.name, project_id, roles, time.time() + self.token_seconds
        )
        with self._lock:
            self._tokens[token.id] = token
        return token

    def describe(self, token: Token, base_url: str) -> bytes:
        """The body that goes with a token. ``base_url`` is the fake cloud's."""
        network = f"{base_url}/network"
        identity = f"{base_url}/identity"
        described = {
            "token": {
                "methods": ["password"],
                "user": {"id": token.user_id, "name": token.user, "domain": DOMAIN},
                "project": {
                    "id": token.project_id,
                    "name": self.projects[token.project_id].name,
                    "domain": DOMAIN,
                },
                "roles": [{"id": name, "name": name} for name in sorted(token.roles)],
                "expires_at": _time(token.expires),
                "issued_at": _time(time.time()),
                "audit_ids": [token.id[:12]],
                "is_domain": False,
                "catalog": [
                    _service("network", "neutron", network),
                    _service("identity", "keystone", identity),
                ],
            }
        }
        return json.dumps(described).encode()

    def _scope(self, scope: Any) -> str:
        asked = (scope or {}).get("project", {})
        for project in self.projects.values():
            if project.id == asked.get("id") or project.name == asked.get("name"):
                return project.id
        raise unauthorized()

    def _user_by_password(self, asked: dict[str, Any]) -> User:
        for user in self.users.values():
            if asked.get("id") == user.id or asked.get("name") == user.name:
                if asked.get("password") == user.password:
                    return user
                break
        raise unauthorized()


def versions(base_url: str) -> bytes:
    """Version discovery."""
    version = {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base_url}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }
    return json.dumps({"version": version}).encode()


def _service(type: str, name: str, url: str) -> dict[str, Any]:
    endpoints = [
        {
            "id": f"{name}-{interface}",
            "interface": interface,
            "region": "RegionOne",
            "region_id": "RegionOne",
            "url": url,
        }
        for interface in ("public", "internal", "admin")
    ]
    return {"id": name, "type": type, "name": name, "endpoints": endpoints}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
