"""Migrations: named by intent; row-level security stands beside the table it guards."""
