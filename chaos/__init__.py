"""Trouble on purpose: the portal's own processes under load and faults, and the reckoning of what became of it all."""
