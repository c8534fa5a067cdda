"""How tables look: a program says what its columns are, and nothing else."""
