# SPDX-License-Identifier: Apache-2.0
"""Kubernetes pods, Services and policies on OpenStack networking."""
