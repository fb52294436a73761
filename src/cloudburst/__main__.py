"""Entry point of ``python -m cloudburst``, the same as ``cloudburst``."""

import sys

from cloudburst.cli import main

if __name__ == "__main__":
    sys.exit(main())
