# SPDX-License-Identifier: Apache-2.0
"""An example of drivers for Kuryr in a package of their own."""
