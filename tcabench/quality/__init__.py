"""Is the answer what it claims to be, and is it right? Its tokens, counted again with the model's own tokenizer; signs
of answers that a certificate must not rest on; grades where a workload states the right answers (`grading`); and
whether two systems answer alike (`agreement`, `likeness`, `paired`, `verdict`)."""

from tcabench.quality.detect import detect, detected
from tcabench.quality.detectors import DETECTORS
from tcabench.quality.detectors.finding import Detector, Finding
from tcabench.quality.recount import load_tokenizer, recount

__all__ = ["DETECTORS", "Detector", "Finding", "detect", "detected", "load_tokenizer", "recount"]
