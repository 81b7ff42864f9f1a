# SPDX-License-Identifier: Apache-2.0
"""OpenStack: sessions, calls within learnt limits, ports, networks. Alone imports keystoneauth."""
