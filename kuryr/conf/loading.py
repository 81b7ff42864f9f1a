# SPDX-License-Identifier: Apache-2.0
"""Reading configuration files into registered options."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from kuryr.errors import ConfigurationError

LOG = logging.getLogger(__name__)

DEFAULT_FILE = "/etc/kuryr/kuryr.conf"


def parse(conf: cfg.ConfigOpts, args: Sequence[str], *, prog: str) -> cfg.ConfigOpts:
    """Parse ``args`` (``--config-file``, ``--config-dir``, oslo.log's) into ``conf``.

    Without ``--config-file`` the file /etc/kuryr/kuryr.conf is read where it exists.

    :raises ConfigurationError: where a file is missing or a value invalid.
    """
    log.register_options(conf)
    default = [DEFAULT_FILE] if Path(DEFAULT_FILE).exists() else []
    try:
        conf(
            args=list(args),
            project="kuryr",
            prog=prog,
            version=version("kuryr-kubernetes"),
            default_config_files=default,
        )
        for group in conf:
            section = conf[group]
            if isinstance(section, conf.GroupAttr):
                for option in section:
                    _read(section, f"[{group}] {option}", option)
    except cfg.Error as error:
        raise ConfigurationError(str(error)) from error
    except UnicodeDecodeError as error:
        files = " ".join(args) or DEFAULT_FILE
        raise ConfigurationError(f"{files}: a file is no text in UTF-8: {error}") from error
    return conf


def read_again(conf: cfg.ConfigOpts) -> None:
    """Take what has changed of mutable options since ``conf`` was parsed. What cannot be read is logged, and changes nothing.

    At SIGHUP, and as a worker process begins: it has the options of the master, who reads them but once.
    """
    try:
        changed = conf.mutate_config_files()
    except (cfg.Error, OSError, UnicodeDecodeError) as error:
        LOG.error("The configuration cannot be read again, all stays as it is: %s", error)
        return
    LOG.info("Configuration read again: %d options changed.", len(changed))


def _read(section: cfg.ConfigOpts.GroupAttr, name: str, option: str) -> None:
    try:
        getattr(section, option)
    except cfg.NoSuchOptError:
        # What stands after the dollar sign may be a part of a password: it is not repeated.
        raise ConfigurationError(
            f"{name}: its value has a $ that is followed by the name of no option; write $$ for a dollar sign"
        ) from None


def set_up_logging(conf: cfg.ConfigOpts, prog: str) -> None:
    """Let oslo.log write as configured; libraries that tell every request are kept at warnings."""
    log.set_defaults(
        default_log_levels=[
            "keystoneauth=WARN",
            "kubernetes=WARN",
            "openstack=WARN",
            "os_vif=INFO",
            "ovs=WARN",
            "pyroute2=WARN",
            "stevedore=WARN",
            "urllib3=WARN",
        ]
    )
    log.setup(conf, prog)
    logging.captureWarnings(True)
