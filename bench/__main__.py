"""Run the benchmarks: ``python -m bench [NAME ..]``; without names, all of them, one after the other."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Return the names of the benchmarks: the files here that can be run as programs."""
    runnable = (path for path in sorted(FOLDER.glob("*.py")) if 'if __name__ == "__main__"' in path.read_text())
    return [path.stem for path in runnable if path.stem not in ("__main__", "bare")]


def main() -> int:
    """Run the benchmarks named on the command line and return how many failed."""
    known = names()
    wanted = sys.argv[1:] or known
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no such benchmark: {', '.join(unknown)}\nhint: choose from {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"\n=== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
