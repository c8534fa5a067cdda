"""What every command shares: reading its words, starting it, showing its progress."""
