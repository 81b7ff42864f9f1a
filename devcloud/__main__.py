# SPDX-License-Identifier: Apache-2.0
import sys

from devcloud.cli import main

sys.exit(main())
