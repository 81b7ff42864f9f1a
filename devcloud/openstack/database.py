# SPDX-License-Identifier: Apache-2.0
"""MariaDB with the services' databases.

The cache keeps a template of them, made objects and OVN's view of these included, so that a later start
neither migrates nor makes anything.
"""

import hashlib
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from devcloud import packages, paths, processes, shell
from devcloud.openstack import configuration
from devcloud.openstack.configuration import KEYS, MYSQL_SOCKET
from devcloud.openstack.facts import AUTH_URL, PASSWORD, REGION

DATABASES = ("keystone", "neutron", "octavia", "octavia_persistence")

_DATA = paths.DATA / "mysql"
_MIGRATED = paths.DATA / "migrated"
_IDENTITY = paths.DATA / "identity-made"
_FRESH = paths.DATA / "fresh"
"""There while the databases hold nothing but what `up` makes: then they may become the template."""

_TEMPLATE_OF = (_DATA, KEYS, _MIGRATED, _IDENTITY, paths.DATA / "ovn-nb.db")
_DEPENDS_ON = ("configuration.py", "database.py", "facts.py", "identity.py", "objects.py", "../network.py")


def start() -> None:
    """MariaDB on a socket, with the databases of the template where the cache has one."""
    if not (_DATA / "mysql").exists():
        # OVN and the databases begin from the same state.
        for item in _TEMPLATE_OF:
            shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)
        if _template().exists():
            shell.run(["cp", "-a", "--reflink=auto", f"{_template()}/.", paths.DATA])
        else:
            _FRESH.touch()
            _install()
    _start_server()


def migrated() -> bool:
    """Whether the databases have the schema, from this start or from the template."""
    return _MIGRATED.exists()


def migrate() -> None:
    """Make the databases and bring them to the schema of the services' release; Keystone's keys as well."""
    for name in DATABASES:
        _sql(f"create database if not exists {name}")
    venv = packages.openstack_venv() / "bin"
    quiet = {"PYTHONWARNINGS": "ignore"}
    neutron: list[shell.Argument] = [venv / "neutron-db-manage"]
    neutron += ["--config-file", configuration.NEUTRON_CONF]
    neutron += ["--config-file", configuration.ML2_CONF, "upgrade", "heads"]
    octavia: list[shell.Argument] = [venv / "octavia-db-manage"]
    octavia += ["--config-file", configuration.OCTAVIA_CONF, "upgrade", "head"]
    with ThreadPoolExecutor() as pool:
        under_way: list[Future[str] | Future[None]] = [
            pool.submit(shell.run, neutron, env=quiet),
            pool.submit(shell.run, octavia, env=quiet),
            pool.submit(_prepare_keystone),
        ]
        for each in under_way:
            each.result()
    _MIGRATED.touch()


def identity_made() -> bool:
    """Whether the databases hold the users and endpoints, from this start or from the template."""
    return _IDENTITY.exists()


def mark_identity_made() -> None:
    """Say that they do."""
    _IDENTITY.touch()


def template_kept() -> bool:
    """Whether there is nothing to keep: these databases have become the template, or came from it."""
    return not _FRESH.exists()


def keep_template() -> None:
    """Keep the databases as they are now; MariaDB is stopped meanwhile."""
    template = _template()
    written = template.with_suffix(".tmp")
    shutil.rmtree(written, ignore_errors=True)
    written.mkdir(parents=True, mode=0o700)
    processes.stop("mariadb", timeout=60)
    for item in _TEMPLATE_OF:
        shell.run(["cp", "-a", item, written])
    _start_server()
    for older in template.parent.glob("openstack-template-*"):
        if older != written:
            shutil.rmtree(older)
    written.rename(template)
    _FRESH.unlink()


def _template() -> Path:
    """Named by all that its content depends on."""
    key = hashlib.sha256(packages.OPENSTACK_LIST.read_bytes())
    for module in _DEPENDS_ON:
        key.update((Path(__file__).parent / module).read_bytes())
    key.update(os.fspath(paths.STATE).encode())
    return paths.CACHE / f"openstack-template-{key.hexdigest()[:12]}"


def _install() -> None:
    shell.run(
        [
            paths.DEBROOT / "usr/bin/mariadb-install-db",
            "--no-defaults",
            f"--basedir={paths.DEBROOT / 'usr'}",
            f"--datadir={_DATA}",
            "--user=root",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            f"--lc-messages-dir={paths.DEBROOT / 'usr/share/mysql'}",
            "--skip-name-resolve",
        ]
    )


def _start_server() -> None:
    # The data need not survive a crash of the machine: nothing waits for the disk.
    processes.start(
        "mariadb",
        [
            paths.program("mariadbd"),
            "--no-defaults",
            f"--basedir={paths.DEBROOT / 'usr'}",
            f"--datadir={_DATA}",
            "--user=root",
            "--skip-networking",
            f"--socket={MYSQL_SOCKET}",
            f"--pid-file={paths.DATA / 'mysql.pid'}",
            f"--lc-messages-dir={paths.DEBROOT / 'usr/share/mysql'}",
            f"--plugin-dir={paths.DEBROOT / 'usr/lib/mysql/plugin'}",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--skip-log-bin",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            "--performance-schema=OFF",
            "--max-connections=200",
            "--character-set-server=utf8mb3",
        ],
    )
    processes.wait_until("mariadb", _answers, "it answers on its socket", 60, interval=0.05)


def _answers() -> bool:
    try:
        _sql("select 1")
    except shell.CommandError:
        return False
    return True


def _sql(statement: str) -> str:
    client: list[shell.Argument] = [
        paths.program("mariadb"),
        "--no-defaults",
        f"--socket={MYSQL_SOCKET}",
        "--user=root",
    ]
    return shell.run([*client, "--execute", statement])


def _prepare_keystone() -> None:
    manage: list[shell.Argument] = [packages.openstack_venv() / "bin/keystone-manage"]
    manage += ["--config-file", configuration.KEYSTONE_CONF]
    quiet = {"PYTHONWARNINGS": "ignore"}
    shell.run([*manage, "db_sync"], env=quiet)
    for directory in ("fernet", "credential"):
        (KEYS / directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    for command in ("fernet_setup", "credential_setup"):
        shell.run([*manage, command, "--keystone-user", "root", "--keystone-group", "root"], env=quiet)
    urls = [f"--bootstrap-{interface}-url" for interface in ("admin", "public", "internal")]
    shell.run(
        [
            *manage,
            "bootstrap",
            f"--bootstrap-password={PASSWORD}",
            f"--bootstrap-region-id={REGION}",
            *(f"{url}={AUTH_URL}" for url in urls),
        ],
        env=quiet,
    )
