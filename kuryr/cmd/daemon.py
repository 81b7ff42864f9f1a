# SPDX-License-Identifier: Apache-2.0
"""``kuryr-daemon``: exit code 0 after SIGTERM, 2 where the configuration cannot work."""

from __future__ import annotations

import gc
import multiprocessing
import sys
from typing import TYPE_CHECKING

import cotyledon
from oslo_config import cfg
from oslo_log import log as logging

from kuryr.conf import node
from kuryr.conf.loading import read_again, set_up_logging
from kuryr.errors import ConfigurationError
from kuryr.k8s.settings import settings_from_conf

if TYPE_CHECKING:
    from kuryr.cni.daemon import Daemon

LOG = logging.getLogger(__name__)


class DaemonService(cotyledon.Service):  # type: ignore[misc]
    """Runs the daemon in the worker process."""

    name = "kuryr-daemon"

    def __init__(self, worker_id: int, conf: cfg.ConfigOpts) -> None:
        super().__init__(worker_id)
        read_again(conf)
        self._conf = conf
        self._daemon: Daemon | None = None

    def run(self) -> None:
        """Serve until the process ends."""
        # Here, not above: the master process would hold a second copy of what it never uses.
        from kuryr.cni.daemon import Daemon

        try:
            self._daemon = Daemon(self._conf)
            self._daemon.start()
        except ConfigurationError as error:
            LOG.error("%s", error)
            raise

    def terminate(self) -> None:
        """End the requests under way; what is plugged stays."""
        if self._daemon is not None:
            self._daemon.stop()

    def reload(self) -> None:
        """Read mutable options again (cotyledon's own way is to start anew)."""
        read_again(self._conf)


def main() -> None:
    """Run kuryr-daemon."""
    try:
        conf = node.load(sys.argv[1:])
        set_up_logging(conf, "kuryr-daemon")
        settings_from_conf(conf)
    except ConfigurationError as error:
        sys.stderr.write(f"kuryr-daemon: {error}\n")
        sys.exit(2)
    manager = cotyledon.ServiceManager(
        graceful_shutdown_timeout=15, mp_context=multiprocessing.get_context("fork")
    )
    manager.add(DaemonService, workers=1, args=(conf,))
    # What is loaded by now is shared by the worker, as long as no collection touches it.
    gc.freeze()
    manager.run()
