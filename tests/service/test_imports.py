"""The service starts without modules that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys

NEEDLESS = [
    *("PIL", "av", "boto3", "botocore", "certifi", "cryptography", "filelock", "httpcore", "httpx"),
    "numpy",
    *("pydantic_settings", "tinytag", "cloudburst.models.failures", "cloudburst.models.limits"),
    *("cloudburst.models.prices", "cloudburst.models.settings", "cloudburst.models.task"),
    "cloudburst.renderer.render",
]
"""Modules that together take longer to import than all others."""
MAX_MODULES = 450
"""Modules of the service when it listens, with those of the standard library."""


def test_the_start_imports_nothing_needless():
    code = (
        "import sys; from cloudburst.programs import lighten_start; lighten_start()\n"
        "import cloudburst.service.lifecycle\n"
        f"print(len(sys.modules), *set({NEEDLESS}) & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, *needless = done.stdout.split()
    assert needless == []
    assert int(count) <= MAX_MODULES


def test_the_start_loads_no_plugins_of_pydantic(tmp_path):
    """A setting that is wrong ends the service at once."""
    (tmp_path / "a_plugin.py").write_text("import sys; sys.exit('the plugin is loaded')")
    (tmp_path / "a_plugin-1.dist-info").mkdir()
    (tmp_path / "a_plugin-1.dist-info" / "METADATA").write_text("Name: a-plugin\nVersion: 1\n")
    (tmp_path / "a_plugin-1.dist-info" / "entry_points.txt").write_text(
        "[pydantic]\na = a_plugin\n"
    )
    env = os.environ | {"PYTHONPATH": str(tmp_path), "CLOUDBURST_PORT": "x"}
    env.pop("PYDANTIC_DISABLE_PLUGINS", None)
    command = [sys.executable, "-m", "cloudburst.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode != 0
    assert done.stderr.startswith("port: Input should be")
