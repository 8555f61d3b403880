"""What an answer can have that a certificate must not rest on: one file and one line each; plug-ins come from
`tcabench.detectors`."""

from tcabench.registry import Registry

DETECTORS = Registry(
    "detector",
    "tcabench.detectors",
    {
        "shortened": "tcabench.quality.detectors.shortened:detect",
        "empty": "tcabench.quality.detectors.empty:detect",
        "repeated": "tcabench.quality.detectors.repeated:detect",
        "cached": "tcabench.quality.detectors.cached:detect",
        "burst": "tcabench.quality.detectors.burst:detect",
        "refused": "tcabench.quality.detectors.refused:detect",
        "inflated": "tcabench.quality.detectors.inflated:detect",
    },
)
