# SPDX-License-Identifier: Apache-2.0
"""Typed objects: the fields in use of Kubernetes' kinds and of our own, and VIFs."""
