"""The API: the same services as the pages, for scripts. One module, one resource."""
