# SPDX-License-Identifier: Apache-2.0
"""CNI 0.1.0 to 1.1.0: what a runtime asks, what it is answered, and errors. Standard library only."""

from __future__ import annotations

import enum
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kuryr.cni.client import SUPPORTED_VERSIONS

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
_REQUIRED_VARIABLES = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": ("CNI_PATH",),
    "STATUS": (),
    "VERSION": (),
}
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
_MAX_IFNAME = 15


class Code(enum.IntEnum):
    """Error codes: CNI's own below 100, Kuryr's from 100 on."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    IO = 5
    DECODING = 6
    INVALID_CONFIG = 7
    TRY_AGAIN = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    INTERNAL = 100
    """A bug: the daemon's log has the trace."""
    BINDING = 101
    """The interface could not be made, plugged or taken away; the message says which step failed."""
    INVALID_VIF = 102
    """The KuryrPort holds something that this daemon does not understand; nothing was plugged."""
    CHECK_FAILED = 103
    """CHECK found something missing or different."""
    GC_FAILED = 104
    """GC could not remove everything; the message lists what is left."""


class CniError(Exception):
    """Ends a request with an error that the runtime shows.

    :ivar code: one of :class:`Code`.
    :ivar details: more for people, may be empty.
    :ivar reason: for the pod's Event, in CamelCase.
    """

    def __init__(
        self, code: Code, message: str, details: str = "", *, reason: str = "FailedToAttachInterface"
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.message = message
        self.details = details

    def document(self, version: str) -> bytes:
        """What goes to stdout, for a request of CNI ``version``."""
        error = {"cniVersion": version, "code": int(self.code), "msg": self.message, "details": self.details}
        return json.dumps(error).encode() + b"\n"


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface of a result. ``sandbox`` is CNI_NETNS for the container's side, empty for the host's. ``mtu`` in bytes."""

    name: str
    mac: str = ""
    sandbox: str = ""
    mtu: int = 0
    socket_path: str = ""
    pci_id: str = ""


@dataclass(frozen=True, slots=True)
class IP:
    """An address with prefix length; ``interface`` is an index into the result's interfaces."""

    address: str
    gateway: str | None = None
    interface: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the container: ``dst`` CIDR, by ``gw`` or on the link."""

    dst: str
    gw: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What ADD answers, before it is shaped for a version."""

    interfaces: tuple[Interface, ...] = ()
    ips: tuple[IP, ...] = ()
    routes: tuple[Route, ...] = ()
    nameservers: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Members of an earlier plugin's result that are passed on as they are (dns domain, search, options)."""

    def after(self, previous: Result) -> Result:
        """This result appended to that of the plugins before."""
        shift = len(previous.interfaces)
        ips = tuple(
            ip if ip.interface is None else replace(ip, interface=ip.interface + shift) for ip in self.ips
        )
        return Result(
            previous.interfaces + self.interfaces,
            previous.ips + ips,
            previous.routes + self.routes,
            tuple(dict.fromkeys(previous.nameservers + self.nameservers)),
            {**previous.extra, **self.extra},
        )


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request. ``args`` are CNI_ARGS; ``attachments`` the (container id, interface) pairs that GC must keep.

    ``attachments`` is None where the runtime lists none, so that nothing can be told to be garbage.
    """

    command: str
    version: str
    network: str = ""
    container_id: str = ""
    netns: str = ""
    ifname: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    previous: Result | None = None
    attachments: frozenset[tuple[str, str]] | None = None

    @property
    def timings(self) -> bool:
        """Whether the caller wants the stages' times on stderr (``kuryr_timings`` of the configuration)."""
        return self.config.get("kuryr_timings") is True


def version_key(version: str) -> tuple[int, ...]:
    """For comparing versions."""
    return tuple(int(part) for part in version.split("."))


def requested_version(netconf: bytes) -> str:
    """The configuration's cniVersion as far as it can be told, for answers to requests that are wrong."""
    try:
        config = json.loads(netconf)
    except ValueError:
        return SUPPORTED_VERSIONS[0]
    version = config.get("cniVersion") if isinstance(config, dict) else None
    return version if isinstance(version, str) and version else SUPPORTED_VERSIONS[0]


def parse(environment: Mapping[str, str], netconf: bytes) -> Request:
    """Check a request.

    :param environment: the CNI_* variables.
    :param netconf: stdin, the plugin's network configuration in JSON.
    :raises CniError: naming the variable or key that is wrong.
    """
    command = environment.get("CNI_COMMAND", "")
    if command not in COMMANDS:
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            f"CNI_COMMAND is {command!r}, expected one of {', '.join(COMMANDS)}",
        )
    config = _config(netconf)
    version = config.get("cniVersion") or SUPPORTED_VERSIONS[0]
    if version not in SUPPORTED_VERSIONS:
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"cniVersion {version!r} is not supported",
            f"supported: {', '.join(SUPPORTED_VERSIONS)}",
        )
    if version_key(version) < version_key(_SINCE.get(command, SUPPORTED_VERSIONS[0])):
        raise CniError(
            Code.INCOMPATIBLE_VERSION,
            f"{command} needs cniVersion {_SINCE[command]} or later, the configuration says {version}",
        )
    missing = [name for name in _REQUIRED_VARIABLES[command] if not environment.get(name)]
    if missing:
        raise CniError(Code.INVALID_ENVIRONMENT, f"{command} needs {', '.join(missing)} in the environment")
    if command == "VERSION":
        return Request(command=command, version=version, config=config)
    container_id = environment.get("CNI_CONTAINERID", "")
    ifname = environment.get("CNI_IFNAME", "")
    if container_id and not _NAME.fullmatch(container_id):
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            f"CNI_CONTAINERID is {container_id!r}, expected letters, digits, '_', '.', '-', first a letter or digit",
        )
    if ifname:
        _check_ifname(ifname)
    return Request(
        command=command,
        version=version,
        network=_network(config),
        container_id=container_id,
        netns=environment.get("CNI_NETNS", ""),
        ifname=ifname,
        args=parse_args(environment.get("CNI_ARGS", "")),
        config=config,
        previous=parse_result(config["prevResult"]) if config.get("prevResult") else None,
        attachments=_valid_attachments(config) if command == "GC" else None,
    )


def _config(netconf: bytes) -> dict[str, Any]:
    if not netconf.strip():
        return {}
    try:
        config = json.loads(netconf)
    except ValueError as error:
        raise CniError(Code.DECODING, f"network configuration on stdin is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise CniError(Code.DECODING, "network configuration on stdin is not a JSON object")
    return config


def _network(config: Mapping[str, Any]) -> str:
    name = config.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CniError(
            Code.INVALID_CONFIG,
            f"name of the network is {name!r}, expected letters, digits, '_', '.', '-', first a letter or digit",
        )
    return name


def _check_ifname(ifname: str) -> None:
    if len(ifname) > _MAX_IFNAME or ifname in (".", "..") or re.search(r"[/:\s]", ifname):
        raise CniError(
            Code.INVALID_ENVIRONMENT,
            f"CNI_IFNAME is {ifname!r}, expected at most {_MAX_IFNAME} characters without '/', ':' and spaces",
        )


def parse_args(text: str) -> dict[str, str]:
    """CNI_ARGS (``NAME=VALUE;NAME=VALUE``); unknown names are kept, never refused.

    :raises CniError: where a part has no ``=``.
    """
    args = {}
    for part in text.split(";"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_ARGS has {part!r}, expected NAME=VALUE")
        args[name] = value
    return args


def _valid_attachments(config: Mapping[str, Any]) -> frozenset[tuple[str, str]] | None:
    key = "cni.dev/valid-attachments"
    if key not in config:
        return None
    listed = config[key] or []  # libcni writes an empty list as null
    if not isinstance(listed, list):
        raise CniError(Code.INVALID_CONFIG, f"{key!r}: expected a list")
    try:
        return frozenset((str(entry["containerID"]), str(entry["ifname"])) for entry in listed)
    except (TypeError, KeyError):
        raise CniError(
            Code.INVALID_CONFIG, f"{key!r}: expected objects with 'containerID' and 'ifname'"
        ) from None


def parse_result(document: Any) -> Result:
    """An earlier plugin's result (prevResult), of any version from 0.3.0 on.

    :raises CniError: for one that cannot be understood.
    """
    try:
        dns = document.get("dns") or {}
        return Result(
            interfaces=tuple(
                Interface(
                    name=entry["name"],
                    mac=entry.get("mac", ""),
                    sandbox=entry.get("sandbox", ""),
                    mtu=entry.get("mtu", 0),
                    socket_path=entry.get("socketPath", ""),
                    pci_id=entry.get("pciID", ""),
                )
                for entry in document.get("interfaces") or ()
            ),
            ips=tuple(
                IP(entry["address"], entry.get("gateway"), entry.get("interface"))
                for entry in document.get("ips") or ()
            ),
            routes=tuple(Route(entry["dst"], entry.get("gw")) for entry in document.get("routes") or ()),
            nameservers=tuple(dns.get("nameservers") or ()),
            extra={name: value for name, value in dns.items() if name != "nameservers"},
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise CniError(Code.INVALID_CONFIG, f"prevResult cannot be understood: {error!r}") from None


def shape(result: Result, version: str) -> dict[str, Any]:
    """``result`` as CNI ``version`` writes it, for JSON."""
    document: dict[str, Any] = {"cniVersion": version}
    number = version_key(version)
    dns = dict(result.extra)
    if result.nameservers:
        dns["nameservers"] = list(result.nameservers)
    if number < (0, 3, 0):
        for family in (4, 6):
            if (entry := _family(result, family)) is not None:
                document[f"ip{family}"] = entry
    else:
        document["interfaces"] = [_interface(entry, number) for entry in result.interfaces]
        document["ips"] = [_ip(entry, number) for entry in result.ips]
        document["routes"] = [_route(entry) for entry in result.routes]
    document["dns"] = dns
    return document


def _interface(entry: Interface, number: Sequence[int]) -> dict[str, Any]:
    document: dict[str, Any] = {"name": entry.name}
    if entry.mac:
        document["mac"] = entry.mac
    if entry.sandbox:
        document["sandbox"] = entry.sandbox
    if tuple(number) >= (1, 1, 0):
        if entry.mtu:
            document["mtu"] = entry.mtu
        if entry.socket_path:
            document["socketPath"] = entry.socket_path
        if entry.pci_id:
            document["pciID"] = entry.pci_id
    return document


def _ip(entry: IP, number: Sequence[int]) -> dict[str, Any]:
    document: dict[str, Any] = {"address": entry.address}
    if tuple(number) < (1, 0, 0):
        document["version"] = str(ipaddress.ip_interface(entry.address).version)
    if entry.gateway:
        document["gateway"] = entry.gateway
    if entry.interface is not None:
        document["interface"] = entry.interface
    return document


def _route(entry: Route) -> dict[str, Any]:
    return {"dst": entry.dst, "gw": entry.gw} if entry.gw else {"dst": entry.dst}


def _family(result: Result, family: int) -> dict[str, Any] | None:
    """ip4 or ip6 of a result before 0.3.0, which has room for one address of each family."""
    for entry in result.ips:
        if ipaddress.ip_interface(entry.address).version == family:
            document: dict[str, Any] = {"ip": entry.address}
            if entry.gateway:
                document["gateway"] = entry.gateway
            document["routes"] = [
                _route(route) for route in result.routes if ipaddress.ip_network(route.dst).version == family
            ]
            return document
    return None


def encode(result: Result, version: str) -> bytes:
    """What goes to stdout."""
    return json.dumps(shape(result, version)).encode() + b"\n"
