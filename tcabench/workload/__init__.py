"""What is asked of the system under test: named sets of prompts, and the seeded, endless list of requests made of them.

`load_workload` gives a `records.Workload` by name (shipped, or a plug-in of the entry-point group `tcabench.workloads`)
or by the path of a folder; `expand` turns it into requests, each pass over the prompts in another seeded order, with
the instants at which they are due. Nothing here talks to a server.
"""

from tcabench.workload.catalogue import load_workload, workload_names
from tcabench.workload.expand import expand

__all__ = ["expand", "load_workload", "workload_names"]
