"""The calls of vPlus, one module per resource. Each is a function of the call's surroundings and its request."""
