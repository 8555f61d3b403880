"""Refresh the digests after a meant change: `python -m tcabench.workload.reindex FOLDER`.

FOLDER is one workload, or a folder of workloads with an index.yaml.
"""

import re
import sys
from hashlib import sha256
from pathlib import Path

from tcabench.door import checked, read_yaml
from tcabench.errors import UsageError
from tcabench.workload.catalogue import INDEX_FILE
from tcabench.workload.spec import SPEC_FILE, WorkloadSpec, read_workload

_STATED = re.compile(r"(\bsha256:\s*)\"?[0-9a-f]{64}\"?")


def restate(folder: Path) -> None:
    """Write the prompt file's true sha256 into the folder's workload.yaml; all else stays as it is."""
    path = folder / SPEC_FILE
    spec = checked(WorkloadSpec, read_yaml(path.read_bytes(), str(path)), str(path))
    true = sha256((folder / spec.prompts.file).read_bytes()).hexdigest()
    path.write_text(_STATED.sub(rf'\g<1>"{true}"', path.read_text("utf-8"), count=1), "utf-8")


def reindex(root: Path) -> str:
    """Restate every workload below `root` and rewrite its index. Returns the index as written."""
    lines = ["# The shipped workloads, pinned. Written by `python -m tcabench.workload.reindex`."]
    for folder in sorted(path.parent for path in root.glob(f"*/{SPEC_FILE}")):
        restate(folder)
        workload = read_workload(folder)
        lines.append(f'{workload.name}: {{version: {workload.version}, sha256: "{workload.digest}"}}')
    text = "\n".join(lines) + "\n"
    (root / INDEX_FILE).write_text(text, "utf-8")
    return text


if __name__ == "__main__":
    try:
        target = Path(sys.argv[1])
        restate(target) if (target / SPEC_FILE).is_file() else reindex(target)
    except (UsageError, IndexError) as err:
        sys.exit(f"{err}\n{__doc__}")
