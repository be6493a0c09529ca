"""Who may: people, tenants, memberships, grants, tokens, rights and the audit; knows a virtual machine only as a guid."""
