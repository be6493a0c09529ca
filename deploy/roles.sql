-- The portal's roles and rights in its database. Run as a superuser, connected to that database; safe to repeat.
--
-- owner            owns the tables and migrates; no running process signs in as it
-- portal           the only login of running processes; row-level security binds it, since it owns nothing
-- portal_provider  sees every tenant; portal takes it on for one transaction (SET LOCAL ROLE) and inherits nothing of it
--
-- Passwords are not set here: deploy/passwords.sh does that for docker compose.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['owner', 'portal', 'portal_provider'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I', name);
        END IF;
    END LOOP;
    EXECUTE format('ALTER DATABASE %I OWNER TO owner', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO portal', current_database());
    -- The mirror's temporary tables are made by the role that writes the mirror.
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO portal_provider', current_database());
END
$$;
ALTER ROLE owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
ALTER ROLE portal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
ALTER ROLE portal_provider NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
DO $$
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        GRANT portal_provider TO portal WITH INHERIT FALSE, SET TRUE;
    ELSE
        GRANT portal_provider TO portal; -- 15 has no such words; NOINHERIT above says the same
    END IF;
END
$$;
