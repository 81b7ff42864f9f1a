# SPDX-License-Identifier: Apache-2.0
"""Neutron's WSGI application with its policy loaded, run by uwsgi in OpenStack's virtual environment.

Neutron loads it with the first request, and a second request that comes meanwhile sees no rules at all:
it is answered 403, or with an empty list.
"""

from neutron import policy  # type: ignore[import-not-found]
from neutron.wsgi.api import application  # type: ignore[import-not-found]

__all__ = ["application"]

policy.init()
