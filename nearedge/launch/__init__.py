"""FireWorks: submission, local workers, the queue and its recovery.

Importing anything from this room imports FireWorks, and does it where no ``FW_config.yaml`` can be
found: see `nearedge.launch.isolation`.
"""

from nearedge.launch.isolation import import_fireworks_alone
from nearedge.launch.renames import install_renames

import_fireworks_alone()
install_renames()
