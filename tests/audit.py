"""Hold `requirements-dev.lock` against known faults by pip-audit; what cannot be asked fails, in one sentence."""

import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[1] / "requirements-dev.lock"
COMMAND = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"]
SILENT = ("ConnectionError", "Max retries", "ServiceError", "Temporary failure", "HTTPError", "Timeout")


def verdict(code: int, out: str, err: str) -> tuple[int, str]:
    """Exit code and what to print."""
    if "No module named pip_audit" in err:
        return 2, "audit: pip-audit is not installed, nothing was checked: pip install pip-audit\n"
    if code and any(sign in err for sign in SILENT):
        last = " ".join(err.split())[-200:]
        return 2, f"audit: the advisories cannot be fetched, nothing was checked; try again with a network ({last})\n"
    return code, out + err


if __name__ == "__main__":
    done = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    ended, text = verdict(done.returncode, done.stdout, done.stderr)
    sys.stdout.write(text)
    sys.exit(ended)
