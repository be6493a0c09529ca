"""What was promised, and what is true of it."""
