"""HTTP headers of requests to render services.

The render service starts faster because this module imports no other module of the package.
"""

from __future__ import annotations

KEY_HEADER = "X-Authentication-Key"
"""HTTP header in which a client sends the key of a worker."""
