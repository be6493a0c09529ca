"""Words and figures for the screen: pure functions, given ``now`` and the zone, that never read a row or a clock."""
