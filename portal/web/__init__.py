"""Pages: one module, one screen. ``templates/web/`` has the same names."""
