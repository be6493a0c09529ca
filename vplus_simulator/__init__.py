"""A stand-in vPlus server over HTTPS: a world with rules, time as an input, and a control API for tests.

It speaks the guide's dialect (vplus-api.md 0.1), by a switch the current one, and is, by default, the poorest server
that the evidence allows (vplus-api.md 4.31). It stands alone: nothing of the portal is imported here.
"""
