"""``python -m cloudburst.cli`` is ``cloudburst``."""

import sys

from cloudburst.cli import main

if __name__ == "__main__":
    sys.exit(main())
