"""Runs the tests as two sessions of pytest side by side: those of the kernel, which mostly wait, and the rest.

`python tests/side_by_side.py`: the kernel's write as they go, the rest's output follows when both are done. The exit
code is 0 where both are. An interrupt reaches both, and both are waited for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

KERNEL = "tests/kernel"


def main() -> int:
    pytest = (os.path.join(os.path.dirname(sys.executable), "pytest"),)
    with tempfile.TemporaryFile() as output:
        rest = subprocess.Popen(
            (*pytest, "tests", f"--ignore={KERNEL}"), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        kernel = subprocess.Popen((*pytest, KERNEL))
        codes = [_ended(kernel), _ended(rest)]
        output.seek(0)
        print(output.read().decode(errors="replace"), flush=True)
    return max(code if code > 0 else 1 if code else 0 for code in codes)


def _ended(session: subprocess.Popen[bytes]) -> int:
    """Its exit code. An interrupt ends it too, which has things to undo."""
    while True:
        try:
            return session.wait()
        except KeyboardInterrupt:
            continue


if __name__ == "__main__":
    sys.exit(main())
