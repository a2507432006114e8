"""Run the benchmarks: ``python -m bench [NAME ..]``; without names, all of them, one after the other."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The files that measure something: each can be run by itself."""
    runnable = (path for path in sorted(FOLDER.glob("*.py")) if 'if __name__ == "__main__"' in path.read_text())
    return [path.stem for path in runnable if path.stem not in ("__main__", "bare")]


def main() -> int:
    """Run what was asked for; returns how many failed."""
    known = names()
    wanted = sys.argv[1:] or known
    if unknown := sorted(set(wanted) - set(known)):
        print(f"no benchmark {', '.join(unknown)}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        print(f"\n=== {name}", flush=True)
        failed += subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
