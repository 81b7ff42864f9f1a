# SPDX-License-Identifier: Apache-2.0
"""OpenStack: sessions, calls within learnt limits, ports, networks. The only place that imports keystoneauth."""
