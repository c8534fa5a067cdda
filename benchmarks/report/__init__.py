"""What a reader sees of a run: tables, plots, pictures, the page."""
