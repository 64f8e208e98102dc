"""Runs a command and writes the peak resident memory of its largest process: ``peak_of.py FILE COMMAND...``.

Linux counts to a process what its parent held when it was forked. A benchmark that has imported torch would therefore never see
less than that; this small one stands between.
"""

import json
import resource
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    status = subprocess.run(sys.argv[2:]).returncode
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    Path(sys.argv[1]).write_text(json.dumps({"status": status, "peak_bytes": peak}), encoding="utf-8")
