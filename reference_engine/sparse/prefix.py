"""Token rows whose keys and values lie in the cache already, from a text that began alike."""

from reference_engine.config import EngineConfig, Kind, ModelSpec
from reference_engine.sparse.pattern import Done, Sizes, Work


class Prefix:
    """Exact: the pages hold the very bits that would be computed. Bytes are those of the cache alone, for whether a
    further step would have read the weights once more cannot be said."""

    lever = "prefix"
    kind: Kind = "equivalent"

    def why_dense(self, spec: ModelSpec, config: EngineConfig) -> str | None:
        return None

    def spared(self, sizes: Sizes, done: Done) -> Work:
        rows = done.prefix_rows * (sizes.row_macs + sizes.choice_macs)
        return Work(rows + done.prefix_pages * sizes.page.macs, done.prefix_pages * sizes.page.bytes)
