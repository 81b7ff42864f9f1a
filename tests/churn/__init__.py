# SPDX-License-Identifier: Apache-2.0
"""Churn: random life on a cluster whose parts die and fail, and what must be true of it afterwards."""
