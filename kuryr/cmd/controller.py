# SPDX-License-Identifier: Apache-2.0
"""``kuryr-k8s-controller``: exit code 0 after SIGTERM, 2 where the configuration cannot work."""

from __future__ import annotations

import gc
import multiprocessing
import sys

import cotyledon

from kuryr.conf import controller as configuration
from kuryr.conf.loading import set_up_logging
from kuryr.controller import startup
from kuryr.controller.service import ControllerService
from kuryr.errors import ConfigurationError
from kuryr.k8s.settings import settings_from_conf


def main() -> None:
    """Run the controller until it is told to stop."""
    try:
        conf = configuration.load(sys.argv[1:])
        set_up_logging(conf, "kuryr-k8s-controller")
        startup.check_names(conf)
        settings_from_conf(conf)
    except ConfigurationError as error:
        sys.stderr.write(f"kuryr-k8s-controller: {error}\n")
        sys.exit(2)
    manager = cotyledon.ServiceManager(
        graceful_shutdown_timeout=conf.kubernetes.graceful_timeout + 5,
        mp_context=multiprocessing.get_context("fork"),
    )
    manager.add(ControllerService, workers=conf.kubernetes.workers, args=(conf,))
    # What is loaded by now is shared by the workers, as long as no collection touches it.
    gc.freeze()
    manager.run()
