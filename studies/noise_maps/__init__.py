"""What denoisers are trained on beside what sampling shows them: maps of levels, no network."""
