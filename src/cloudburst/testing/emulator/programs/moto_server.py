"""moto's server on a free port of 127.0.0.1; says which, and serves until killed."""

from __future__ import annotations

import logging
import signal
import sys


def main() -> None:
    """Needs ``moto[server]``."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 - this file is also imported to find it

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    sys.stdout.write(f"port {server.get_host_and_port()[1]}\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
