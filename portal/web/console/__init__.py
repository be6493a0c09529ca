"""The provider's screens."""
