"""Images that anybody made, by whatever program, measured by the suite of the comparison."""

from benchmarks.evaluation.measure import evaluate, fid_plus

__all__ = ["evaluate", "fid_plus"]
