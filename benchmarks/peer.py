"""Virtual environments for the peers that benchmarks compare with: pinned, one for each peer."""

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def interpreter(peer: str) -> Path:
    """The Python of `.venv-bench-PEER`, in which what `benchmarks/PEER_peer.txt` lists is installed, and nothing else:
    the list names all that its packages need. It is made where it is not there, or was made from another list.

    raises: subprocess.CalledProcessError."""
    pins = ROOT / "benchmarks" / f"{peer}_peer.txt"
    folder, wanted = ROOT / f".venv-bench-{peer}", sha256(pins.read_bytes()).hexdigest()
    python, stamp = folder / "bin" / "python", folder / "installed"
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"installing the peer {peer} into {folder.name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "-r", str(pins)], check=True)
        (folder / ".gitignore").write_text("*\n")
        stamp.write_text(wanted)
    return python
