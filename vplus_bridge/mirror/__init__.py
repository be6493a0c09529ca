"""What vPlus told us. Only this room writes the facts; a reader returns which guids changed and composes nothing."""
