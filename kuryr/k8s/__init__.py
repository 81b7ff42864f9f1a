# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API: transport, watches, stores, queues, Events, Leases."""
