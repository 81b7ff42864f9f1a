# SPDX-License-Identifier: Apache-2.0
"""`python3 -m devcloud`."""

from devcloud import cli

cli.program()
