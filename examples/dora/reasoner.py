"""`python -m edgereason.robot.dora` as a file, which dora starts with the Python on the PATH."""

import sys

from edgereason.robot.dora import main

sys.exit(main())
