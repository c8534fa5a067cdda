"""`python -m benchmarks.evaluation`: the same as `patchcanvas evaluate`."""

import sys

from benchmarks.evaluation.command import main

sys.exit(main())
