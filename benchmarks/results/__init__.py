"""What a table of figures holds: rows, their fingerprints, their columns, and how it is written."""
