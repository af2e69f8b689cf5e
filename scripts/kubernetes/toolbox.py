"""A Python of its own for the check, in .tools/kubernetes: made when it is missing or stale, else left alone.

Standard library only: this runs before anything is installed.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REQUIREMENTS = HERE / "requirements.txt"
TOOLS = ROOT / ".tools"
VENV = TOOLS / "kubernetes"
STAMP = VENV / "installed.txt"


class Unusable(Exception):
    """The environment could not be made; the message says what to do."""


def ready_python():
    """The path of a Python that has what the check needs."""
    if not is_ready():
        try:
            with one_at_a_time():
                # Somebody else may have made it while we waited.
                if not is_ready():
                    install()
        except PermissionError as error:
            raise Unusable(f"cannot write {error.filename}: remove {VENV} as whoever made it, and try again") from error
    return python()


def python():
    return VENV / "bin" / "python"


def wanted():
    return f"Python {sys.version}\n{REQUIREMENTS.read_text(encoding='utf-8')}"


def is_ready():
    if not STAMP.is_file() or STAMP.read_text(encoding="utf-8") != wanted():
        return False
    # An update of the system may have taken away the Python that it leans on.
    with contextlib.suppress(OSError):
        return subprocess.run([python(), "-c", ""], check=False, capture_output=True).returncode == 0
    return False


@contextlib.contextmanager
def one_at_a_time():
    TOOLS.mkdir(exist_ok=True)
    with open(TOOLS / "kubernetes.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install():
    pins = [line for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line]
    print(f"check-kubernetes: installing into {VENV} (once): {', '.join(pins)}", file=sys.stderr, flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    # Whole pins need no resolving; wheels run nobody's build script.
    install_pins = ["install", "--quiet", "--no-input", "--disable-pip-version-check"]
    install_pins += ["--no-deps", "--only-binary", ":all:", "--requirement", str(REQUIREMENTS)]
    if succeeds([sys.executable, "-m", "venv", str(VENV)]):
        pip = [str(python()), "-m", "pip"]
    else:
        # Debian's python3 comes without ensurepip; a pip of the system's will do.
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
        pip = [sys.executable, "-m", "pip", "--python", str(python())]
    run(pip + install_pins)
    STAMP.write_text(wanted(), encoding="utf-8")


def succeeds(command):
    return subprocess.run(command, check=False, capture_output=True, env=clean_environment()).returncode == 0


def run(command):
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=clean_environment())
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        remedy = "is there a network, and are python3-venv or pip installed?"
        raise Unusable(f"`{' '.join(command)}` failed: {words[-1]}; {remedy}")


def clean_environment():
    """Without what would lead Python elsewhere than into the new environment."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
