"""One machine's servers for development, demo and tests: PostgreSQL, Redis, our processes, demo data.

Never used in production: there the servers are the operator's own (docker-compose.yml, docs/operators).
"""
