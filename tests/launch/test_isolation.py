"""No configuration file of FireWorks has an effect, wherever it lies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

_LOOK = """
import json, os
before = os.getcwd(), os.environ["HOME"], os.environ["FW_CONFIG_FILE"]
import nearedge.launch
from fireworks import fw_config
after = os.getcwd(), os.environ["HOME"], os.environ["FW_CONFIG_FILE"]
print(json.dumps({
    "ping": fw_config.PING_TIME_SECS,
    "launchpad": fw_config.LAUNCHPAD_LOC,
    "undisturbed": before == after,
}))
"""


def test_configuration_in_the_working_folder_the_home_and_the_environment_is_ignored(
    tmp_path: Path,
) -> None:
    work, home, named = tmp_path / "work", tmp_path / "home", tmp_path / "named.yaml"
    work.mkdir()
    (home / ".fireworks").mkdir(parents=True)
    for folder in (work, home / ".fireworks"):
        (folder / "FW_config.yaml").write_text("PING_TIME_SECS: 7\nECHO_TEST: heard\n")
        (folder / "my_launchpad.yaml").write_text("host: elsewhere\nname: foreign\n")
    named.write_text("PING_TIME_SECS: 8\n")
    done = subprocess.run(
        [sys.executable, "-P", "-c", _LOOK],
        cwd=work,
        env={**os.environ, "HOME": str(home), "FW_CONFIG_FILE": str(named)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"ping": 3600, "launchpad": None, "undisturbed": True}
