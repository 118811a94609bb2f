"""Dockerfile and compose file, as far as they can be judged without an engine: by their own tools, and against the code."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from meterhouse.__main__ import make_parser
from meterhouse.settings import FILE, PREFIX, Settings

ROOT = Path(__file__).parents[1]
TOOLS = Path(sys.executable).parent
OURS = {"secrets", "migrate", "api", "worker", "conformance"}
ONCE = {"secrets", "migrate", "conformance"}
GIVEN = {"METERHOUSE_BASE_URL": "https://usage.example.com/", "METERHOUSE_PORT": "9000"}


def compose(*more, **environment):
    """The file as Compose itself reads it, all profiles included."""
    command = [TOOLS / "docker-compose", "--file", ROOT / "docker-compose.yml", "--profile", "*", "config", *more]
    path = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    done = subprocess.run(command, env=path | environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module")
def project():
    return json.loads(compose("--format", "json"))


@pytest.fixture(scope="module")
def services(project):
    return project["services"]


def test_the_dockerfile_passes_its_linter():
    done = subprocess.run([TOOLS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_image_is_pinned_by_version_and_digest(services):
    pinned = re.compile(r"[a-z/]+:\d+\.\d+[\w.-]+@sha256:[0-9a-f]{64}")
    base = re.search(r"^ARG PYTHON=(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[1]
    others = [service["image"] for name, service in services.items() if name not in OURS]
    assert len(others) == 3
    assert [image for image in [base, *others] if not pinned.fullmatch(image)] == []


def test_the_image_is_one_and_built_once(services):
    assert {services[name]["image"] for name in OURS} == {"meterhouse"}
    assert [name for name, service in services.items() if "build" in service] == ["secrets"]
    assert {services[name]["pull_policy"] for name in OURS - {"secrets"}} == {"never"}


def test_the_image_is_made_from_what_the_package_is_made_from():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = package["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {package["project"]["readme"], "pyproject.toml", "requirements.lock", "requirements-build.lock"}
    needed |= {Path(path).parts[0] for path in [*wheel["packages"], *wheel["force-include"]]}
    assert needed <= kept
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", "all else stays out"


@pytest.mark.parametrize(
    ("lock", "has", "has_not"),
    [("requirements.lock", "uvicorn", "pytest"), ("requirements-build.lock", "hatchling", "ruff")],
)
def test_what_the_image_installs_is_locked_and_free_of_tools(lock, has, has_not):
    names = {line.partition("==")[0] for line in (ROOT / lock).read_text().splitlines() if not line.startswith(" ")}
    assert has in names
    assert has_not not in names
    assert f"--require-hashes -r {lock}" in (ROOT / "Dockerfile").read_text()


def test_every_command_is_one_of_the_programs(services):
    for name in OURS:
        entrypoint, command = services[name]["entrypoint"] or ["meterhouse"], services[name]["command"] or []
        if entrypoint == ["sh", "-euc"]:
            lines = re.findall(r"^meterhouse (.+)$", command[0], re.MULTILINE)
        else:
            lines = [" ".join(entrypoint[1:] + command)]
        assert lines or name == "secrets"
        for line in lines:
            make_parser().parse_args(line.split())  # exits if it is none


def test_every_variable_of_ours_is_a_setting(services):
    names = {name for service in services.values() for name in service.get("environment", {})}
    ours = {name.removesuffix(FILE).removeprefix(PREFIX).lower() for name in names if name.startswith(PREFIX)}
    assert {"database_url", "secret_key", "redis_url", "base_url"} <= ours <= set(Settings.model_fields)
    in_the_file = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert {name.removeprefix(PREFIX).lower() for name in in_the_file} <= set(Settings.model_fields)


def test_what_the_environment_says_reaches_the_servers_and_the_published_port():
    project = json.loads(compose("--format", "json", **GIVEN))
    for name in ("migrate", "api", "worker"):
        assert project["services"][name]["environment"]["METERHOUSE_BASE_URL"] == "https://usage.example.com/"
    (port,) = project["services"]["proxy"]["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "9000", 8000)
    default = json.loads(compose("--format", "json", METERHOUSE_PORT="9000"))
    assert default["services"]["api"]["environment"]["METERHOUSE_BASE_URL"] == "http://127.0.0.1:9000/"


def test_only_the_proxy_is_published_and_the_servers_can_be_scaled(services):
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert not any("container_name" in service or "hostname" in service for service in services.values())


def test_everything_starts_after_what_it_needs(services):
    def waits(name):
        found = {}
        for other, how in services[name].get("depends_on", {}).items():
            found |= {other: how["condition"]} | waits(other)
        return found

    done, well = "service_completed_successfully", "service_healthy"
    assert waits("postgres") == {"secrets": done}
    assert waits("migrate") == {"secrets": done, "postgres": well}
    for name in ("api", "worker"):
        assert {"secrets": done, "postgres": well, "migrate": done}.items() <= waits(name).items()
    assert waits("api")["redis"] == well
    assert waits("proxy").keys() == services.keys() - {"proxy", "worker", "conformance"}
    assert waits("conformance") == {}, "running it must not scale down what it checks"
    waited_for = {other for name in services for other, how in waits(name).items() if how == well}
    assert waited_for == {"postgres", "redis", "api"}
    for name in ("postgres", "redis", "proxy"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(), "what the api is judged by"


def test_servers_come_back_and_one_shots_do_not(services):
    for name, service in services.items():
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name


def test_no_service_has_more_than_it_needs(services):
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"], name
    assert re.search(r"^USER 10001:10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {services[name].get("user") for name in OURS} == {None}, "the image's own user"
    assert {services[name]["user"] for name in ("postgres", "redis")} == {"postgres", "valkey"}


def test_databases_are_reached_from_inside_only(project):
    inside = {name for name, network in project["networks"].items() if network.get("internal")}
    assert inside == {"inside", "front"}
    for name in ("postgres", "redis", "migrate"):
        assert set(project["services"][name]["networks"]) == {"inside"}
    assert set(project["services"]["api"]["networks"]) == {"inside", "front"}


def test_secrets_are_made_not_written_down_and_seen_by_those_who_need_them(services):
    assert not re.search(r"://\w*:[^$@\s]+@", compose()), "a password in a URL"
    files = {"METERHOUSE_DATABASE_URL_FILE", "METERHOUSE_SECRET_KEY_FILE", "POSTGRES_PASSWORD_FILE"}
    given = {name for service in services.values() for name in service.get("environment", {})}
    assert {name for name in given if re.search("PASSWORD|SECRET|DATABASE_URL", name)} == files

    def sees(volume):
        return {name for name, one in services.items() for each in one.get("volumes", []) if each["source"] == volume}

    assert sees("database-secrets") == {"secrets", "postgres"}
    assert sees("server-secrets") == {"secrets", "migrate", "api", "worker"}
    assert sees("credentials") == {"migrate", "conformance"}
    writers = {"database-secrets": "secrets", "server-secrets": "secrets", "credentials": "migrate"}
    for name, service in services.items():
        for volume in service.get("volumes", []):
            if writers.get(volume["source"], name) != name:
                assert volume["read_only"], (name, volume["source"])


def test_the_secrets_script_makes_each_secret_once(services, tmp_path):
    """Run as it stands, by the shell, in another folder."""
    script = services["secrets"]["command"][0].replace("$$", "$").replace("/secrets/", f"{tmp_path}/")
    for folder in ("database", "server"):
        (tmp_path / folder).mkdir()

    def made():
        subprocess.run([shutil.which("sh"), "-euc", script], check=True)
        return {path.name: path.read_text().strip() for path in tmp_path.glob("*/*")}

    first = made()
    assert first.keys() == {"password", "secret-key", "database-url"}
    assert len(first["secret-key"]) >= 32
    assert len(first["password"]) >= 32
    assert first["database-url"] == f"postgresql://meterhouse:{first['password']}@postgres/meterhouse"
    assert made() == first
    (tmp_path / "server" / "database-url").write_text("")  # as a power cut may leave it
    assert made() == first


def test_the_proxy_tells_the_servers_who_calls_and_sends_nothing_twice(services):
    (config,) = services["proxy"]["configs"]
    text = Path(yaml.safe_load(compose())["configs"][config["source"]]["file"]).read_text()
    assert "http-request set-header X-Forwarded-For %[src]" in text
    assert re.findall(r"retry-on (.+)", text) == ["conn-failure"]
    assert re.search(r"server-template api \d+ api:8000", text)
