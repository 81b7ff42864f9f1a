# SPDX-License-Identifier: Apache-2.0
"""The soak: one controller with as many pods as a large cluster has, on simulated nodes, for a while."""
