# SPDX-License-Identifier: Apache-2.0
"""The development cloud: OpenStack, Kubernetes and Kuryr on one machine (see docs/devcloud.md).

Standard library only; run as root by the system's Python: ``python3 -m devcloud --help``.
"""
