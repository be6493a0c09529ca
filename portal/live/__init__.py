"""Live pages: one subscription to Redis per web process, fanned out to the browsers that watch."""
