# SPDX-License-Identifier: Apache-2.0
"""How to reach the Kubernetes API: the options of [kubernetes], resolved and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from oslo_config import cfg

from kuryr.errors import ConfigurationError

# The API server sends a bookmark about once a minute, unless nothing at all has happened since the watch began:
# then opening it anew once in a while costs little.
SHORTEST_WATCH_SILENCE = 90.0


class ApiSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Address, trust, credentials and patience. Empty file names mean: not used.

    ``connect_timeout`` and ``read_timeout`` (seconds) hold for every request; ``watch_silence`` is how long a
    watch may be silent before its connection counts as hung.
    """

    api_root: str
    verify: bool = True
    ca_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    token_file: str = ""
    connect_timeout: float = 30.0
    read_timeout: float = 60.0
    watch_silence: float = SHORTEST_WATCH_SILENCE

    @property
    def tls(self) -> bool:
        """Whether the API is reached by https."""
        return self.api_root.startswith("https:")


def in_cluster_api_root(environ: Mapping[str, str]) -> str:
    """The API's address as a pod's environment has it.

    :raises ConfigurationError: outside a pod.
    """
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or environ.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        raise ConfigurationError(
            "[kubernetes] api_root is empty and this is no pod: KUBERNETES_SERVICE_HOST and "
            "KUBERNETES_SERVICE_PORT_HTTPS are not set; expected a URL such as https://192.0.2.1:6443"
        )
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def settings_from_conf(conf: cfg.ConfigOpts, environ: Mapping[str, str] = os.environ) -> ApiSettings:
    """The settings that ``conf`` asks for.

    A file that the operator names must exist; one that is only an option's default is used where it exists.
    Of a client certificate and a token file the token is used, unless only the certificate was named.

    :raises ConfigurationError: naming the option and the file.
    """
    group = conf.kubernetes
    api_root = (group.api_root or in_cluster_api_root(environ)).rstrip("/")
    url = urlsplit(api_root)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ConfigurationError(f"[kubernetes] api_root: {api_root!r} is no http:// or https:// URL")

    token_file = _file(conf, "token_file")
    cert_file = _file(conf, "ssl_client_crt_file")
    key_file = _file(conf, "ssl_client_key_file")
    if bool(cert_file) != bool(key_file):
        have, missing = ("crt", "key") if cert_file else ("key", "crt")
        raise ConfigurationError(
            f"[kubernetes] ssl_client_{have}_file is set but ssl_client_{missing}_file is not; expected both"
        )
    if cert_file and token_file:
        if _named(conf, "token_file"):
            cert_file = key_file = ""
        else:
            token_file = ""
    if url.scheme == "https" and not token_file and not cert_file:
        raise ConfigurationError(
            f"[kubernetes] token_file: {group.token_file or ''!r} does not exist, and no "
            f"ssl_client_crt_file is set: there is nothing to authenticate with at {api_root}"
        )
    read_timeout = float(group.watch_read_timeout)
    return ApiSettings(
        api_root=api_root,
        verify=bool(group.ssl_verify_server_crt),
        ca_file=_file(conf, "ssl_ca_crt_file") if group.ssl_verify_server_crt else "",
        client_cert_file=cert_file,
        client_key_file=key_file,
        token_file=token_file,
        connect_timeout=float(group.watch_connection_timeout),
        read_timeout=read_timeout,
        watch_silence=max(read_timeout, SHORTEST_WATCH_SILENCE),
    )


def _named(conf: cfg.ConfigOpts, option: str) -> bool:
    """Whether somebody set the option, rather than its default."""
    place = conf.get_location(option, "kubernetes")
    return place is not None and place.location not in (cfg.Locations.opt_default, cfg.Locations.set_default)


def _file(conf: cfg.ConfigOpts, option: str) -> str:
    name = str(conf.kubernetes[option] or "")
    if not name or Path(name).is_file():
        return name
    if _named(conf, option):
        raise ConfigurationError(f"[kubernetes] {option}: file {name} does not exist")
    return ""
