"""What people asked: the one door through which anything in vPlus is changed (docs/decisions/0003-sending.md)."""
