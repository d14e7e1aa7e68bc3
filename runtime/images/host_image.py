"""The built-in image `host`: the machine's own file system, copy-on-write.

Its PATH is a Debian image's, with the folder of the Python that runs us in front where that lies elsewhere, as in a
virtual environment: what was installed beside pycompose is what `python`, `dask` and the like mean in a container.
"""

import os
import sys

NAME = "host"
KEY = "pycompose.base"  # in the configuration of an image that was built FROM host
USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def path(executable: str = sys.executable) -> str:
    """PATH for a container, as an environment has it."""
    folder = os.path.dirname(executable)
    return f"PATH={USUAL}" if not folder or folder in USUAL.split(":") else f"PATH={folder}:{USUAL}"
