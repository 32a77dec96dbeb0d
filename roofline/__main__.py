"""``python -m roofline`` is ``roofline``."""

import sys

from .cli import main

sys.exit(main())
