# SPDX-License-Identifier: Apache-2.0
from pathlib import Path
from typing import Any

import pytest
from oslo_config import cfg

from kuryr.conf import kubernetes as options
from kuryr.errors import ConfigurationError
from kuryr.k8s.settings import ApiSettings, settings_from_conf

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT_HTTPS": "443"}


def resolve(tmp_path: Path, environ: dict[str, str] | None = None, **values: Any) -> ApiSettings:
    file = tmp_path / "kuryr.conf"
    file.write_text("[kubernetes]\n" + "".join(f"{name} = {value}\n" for name, value in values.items()))
    conf = cfg.ConfigOpts()
    options.register_api(conf)
    conf(["--config-file", str(file)])
    return settings_from_conf(conf, environ or {})


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("secret")
    return file


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, Path]:
    for name in ("crt", "key"):
        (tmp_path / name).write_text("")
    return {"ssl_client_crt_file": tmp_path / "crt", "ssl_client_key_file": tmp_path / "key"}


def test_plain_http_needs_no_credentials(tmp_path: Path) -> None:
    settings = resolve(tmp_path, api_root="http://127.0.0.1:8080/")
    assert settings.api_root == "http://127.0.0.1:8080"
    assert settings.token_file == ""
    assert settings.ca_file == ""
    assert not settings.tls


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (IN_CLUSTER, "https://10.96.0.1:443"),
        (IN_CLUSTER | {"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:443"),
        (
            {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"},
            "https://10.96.0.1:6443",
        ),
    ],
)
def test_an_empty_api_root_is_the_pods_own(
    tmp_path: Path, token: Path, environ: dict[str, str], expected: str
) -> None:
    assert resolve(tmp_path, environ, api_root="", token_file=token).api_root == expected


def test_an_empty_api_root_outside_a_pod_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"api_root is empty.*KUBERNETES_SERVICE_HOST"):
        resolve(tmp_path, api_root="")


def test_an_address_without_scheme_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="api_root: 'localhost:6443'"):
        resolve(tmp_path, api_root="localhost:6443")


@pytest.mark.parametrize("option", ["token_file", "ssl_ca_crt_file"])
def test_a_named_file_must_exist(tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(ConfigurationError, match=rf"{option}: file {missing} does not exist"):
        resolve(tmp_path, api_root="http://127.0.0.1", **{option: missing})


def test_https_needs_credentials(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"token_file.*ssl_client_crt_file"):
        resolve(tmp_path, api_root="https://127.0.0.1:6443")


def test_a_certificate_needs_its_key(tmp_path: Path, pair: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match="ssl_client_key_file is not"):
        resolve(tmp_path, api_root="https://127.0.0.1", ssl_client_crt_file=pair["ssl_client_crt_file"])


def test_a_named_token_comes_before_a_certificate(tmp_path: Path, pair: dict[str, Path], token: Path) -> None:
    settings = resolve(tmp_path, api_root="https://127.0.0.1", token_file=token, **pair)
    assert (settings.token_file, settings.client_cert_file) == (str(token), "")


def test_a_named_certificate_comes_before_the_default_token(
    tmp_path: Path, pair: dict[str, Path], token: Path
) -> None:
    conf = cfg.ConfigOpts()
    options.register_api(conf)
    conf.set_default("token_file", str(token), "kubernetes")
    file = tmp_path / "kuryr.conf"
    lines = "".join(f"{name} = {value}\n" for name, value in pair.items())
    file.write_text(f"[kubernetes]\napi_root = https://127.0.0.1\n{lines}")
    conf(["--config-file", str(file)])
    settings = settings_from_conf(conf, {})
    assert settings.token_file == ""
    assert settings.client_cert_file == str(pair["ssl_client_crt_file"])


def test_a_watch_may_be_silent_for_longer_than_its_bookmarks(tmp_path: Path) -> None:
    settings = resolve(
        tmp_path, api_root="http://127.0.0.1", watch_read_timeout=10, watch_connection_timeout=3
    )
    assert (settings.connect_timeout, settings.read_timeout) == (3, 10)
    assert settings.watch_silence > 75
