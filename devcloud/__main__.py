# SPDX-License-Identifier: Apache-2.0
"""`python3 -m devcloud`."""

import sys

from devcloud.cli import main

sys.exit(main())
