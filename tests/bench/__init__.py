# SPDX-License-Identifier: Apache-2.0
"""Kuryr's figures, measured on the running development cloud: ``python -m tests.bench``."""
