"""Image, compose file and locks, as far as they can be judged without running containers."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from local_stack.folder import CLONE
from local_stack.postgres_server import PostgresServer, postgres_programs
from local_stack.processes import portal_programs
from portal.environment import Environment

COMPOSE: dict[str, Any] = yaml.safe_load((CLONE / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (CLONE / "Dockerfile").read_text()
LONG_RUNNING = sorted(set(SERVICES) - {"migrate"})
OF_THE_PORTAL = ["beat", "migrate", "web", "worker-poll", "worker-send"]


def test_the_services_are_the_ones_that_the_portal_needs() -> None:
    assert sorted(SERVICES) == sorted([*OF_THE_PORTAL, "postgres", "redis", "simulator"])
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["simulator"]["profiles"] == ["simulator"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert any(Path(mount.split(":")[0]).name == "tmp" for mount in service["tmpfs"])


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_each_long_running_service_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert SERVICES[name]["restart"] == "unless-stopped"


def test_processes_wait_for_the_migration_and_only_it_signs_in_as_the_owner() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    for name in sorted(set(OF_THE_PORTAL) - {"migrate"}):
        assert SERVICES[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    with_owner = [name for name, service in SERVICES.items() if "database_owner_url" in service.get("secrets", [])]
    assert with_owner == ["migrate"]


def test_no_secret_stands_in_an_environment_and_each_file_is_one_that_make_secrets_writes(tmp_path: Path) -> None:
    for name in OF_THE_PORTAL:
        environment = SERVICES[name]["environment"]
        for secret in ("DATABASE_URL", "DATABASE_OWNER_URL", "SECRET_KEY", "VPLUS_PASSWORD", "POSTGRES_PASSWORD"):
            assert secret not in environment
        files = {value for key, value in environment.items() if key.endswith("_FILE")}
        assert files == {f"/run/secrets/{secret}" for secret in SERVICES[name]["secrets"]}
    (tmp_path / "deploy").mkdir()
    shutil.copy(CLONE / "deploy" / "make-secrets", tmp_path / "deploy")
    subprocess.run([tmp_path / "deploy" / "make-secrets"], check=True, stdout=subprocess.DEVNULL)
    before = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert {f"./secrets/{name}" for name in before} == {each["file"] for each in COMPOSE["secrets"].values()}
    subprocess.run([tmp_path / "deploy" / "make-secrets"], check=True, stdout=subprocess.DEVNULL)
    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == before
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    reader = Environment({"DATABASE_URL_FILE": str(tmp_path / "secrets" / "database_url")})
    assert reader.database("DATABASE_URL")["PASSWORD"] == before["portal_password"]
    assert len(Environment({"SECRET_KEY": before["secret_key"]}).secret("SECRET_KEY", least=32)) == 64


def test_files_that_are_mounted_or_copied_exist() -> None:
    volumes = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    mounted = [volume.split(":")[0] for volume in volumes if volume.startswith(".")]
    made_by_the_script = {"./certificates"}
    assert {path for path in mounted if not (CLONE / path).exists()} <= made_by_the_script
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for word in line.split():
            assert (CLONE / word).exists(), word


def test_containers_run_the_same_commands_as_make_run() -> None:
    local = {each.name: each for each in portal_programs(8000, Path("/data"))}
    for name in ("worker-poll", "worker-send"):
        here, there = list(local[name].command), SERVICES[name]["command"]
        for option in ("-A", "-Q", "-P", "-c"):
            assert here[here.index(option) + 1] == there[there.index(option) + 1]
        assert {"--without-gossip", "--without-mingle"} <= set(here) & set(there)
        assert SERVICES[name]["environment"]["PORTAL_PROCESS"] == local[name].kind
    assert "beat" in SERVICES["beat"]["command"]
    last = json.loads(DOCKERFILE.rpartition("CMD ")[2])
    assert last[:2] == ["uvicorn", "portal.asgi:application"]
    assert last[last.index("--lifespan") + 1] == "off"


def test_the_images_run_as_a_plain_user_with_locked_packages() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)
    for stage in stages:
        name = stage.splitlines()[0].rpartition(" AS ")[2]
        if name in {"portal", "simulator"}:
            assert "USER 10001:10001" in stage
    for line in re.findall(r"pip install .+", DOCKERFILE):
        assert "--require-hashes" in line


def test_no_lock_holds_a_download_address() -> None:
    lock = json.loads((CLONE / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    for name in ("requirements.lock", "requirements-dev.lock"):
        assert "://" not in (CLONE / name).read_text()


def test_the_script_of_the_postgres_container_sets_both_passwords(folder: Path) -> None:
    server = PostgresServer(folder / "postgres", shelf=folder)
    server.start()
    passwords = {"owner": "o'hara $HOME `id`", "portal": 'p\\w"'}
    for name, password in passwords.items():
        (folder / f"{name}_password").write_text(password)
    script = (CLONE / "deploy" / "passwords.sh").read_text()
    assert script.count("/run/secrets/") == len(passwords)
    programs, _ = postgres_programs(folder)
    environ = {"PATH": f"{programs}:/usr/bin:/bin", "PGHOST": str(server.folder), "POSTGRES_DB": "portal"}
    subprocess.run(["sh"], input=script.replace("/run/secrets", str(folder)), text=True, env=environ, check=True)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        (server.folder / "data" / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        connection.execute("SELECT pg_reload_conf()")
        for name, password in passwords.items():
            psycopg.connect(server.url(name), password=password).close()
            with pytest.raises(psycopg.OperationalError, match="authentication failed"):
                psycopg.connect(server.url(name), password=f"{password}x")
    server.stop()


def test_ci_runs_what_a_person_runs() -> None:
    assert os.access(CLONE / ".ci" / "run", os.X_OK)
    lines = (CLONE / ".ci" / "run").read_text().splitlines()
    assert lines[-2:] == ["make lint", "make test"]
