"""The oracle: every strategy on a Gaussian field, whose exact answer is known."""
