# SPDX-License-Identifier: Apache-2.0
"""A Keystone and a Neutron to test against, over HTTP, with latency, capacity and faults to choose.

It keeps real books: addresses of both families are given out and taken back, quotas and rights hold, errors are
worded as Neutron words them. It needs no other service, starts in milliseconds, and also runs alone:
``python -m kuryr.testing.fake_cloud --help``.
"""

from kuryr.testing.fake_cloud.cloud import FakeCloud
from kuryr.testing.fake_cloud.journal import Call, Journal

__all__ = ["Call", "FakeCloud", "Journal"]
