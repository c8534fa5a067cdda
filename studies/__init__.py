"""Questions that take several trainings or several parts of the house; each is one command."""
