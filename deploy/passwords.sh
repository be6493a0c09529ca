#!/bin/sh
# After roles.sql, when PostgreSQL's container makes its data: the two logins get their passwords.
set -eu
psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" <<'SQL'
\set owner_password `cat /run/secrets/owner_password`
\set portal_password `cat /run/secrets/portal_password`
ALTER ROLE owner PASSWORD :'owner_password';
ALTER ROLE portal PASSWORD :'portal_password';
SQL
