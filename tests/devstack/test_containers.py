"""The containers run what the devstack runs, with the same settings, and hold nothing that they should not.

Docker is not needed: the files are read, and the commands in them that can run here are run.
"""

import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
import yaml
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from isekai.devstack import PROJECT, processes
from isekai.devstack.children import Child, LogFile
from isekai.devstack.environment import settings_names, without_settings
from isekai.devstack.ports import GRPC_OFFSET, HOST, free_ports, is_free
from isekai.devstack.servers import SeaweedFS, seaweed_binary, valkey_binary
from tests.devstack.test_environment import COMPOSE_ALONE
from tests.processes import wait_until

OURS = processes.production_processes()
SECRET = secrets.token_hex(32)
# What is filled into .env; .invalid never resolves.
FILLED_IN = {
    "ISEKAI_PUBLIC_URL": "https://isekai.invalid",
    "SECRET_KEY": SECRET,
    "ENCRYPTION_KEY": SECRET,
    "POSTGRES_PASSWORD": SECRET,
    "REDIS_PASSWORD": SECRET,
    "S3_PRESIGNED_ENDPOINT": "https://files.invalid",
    "S3_BUCKET_NAME": "isekai",
    "S3_ACCESS_KEY_ID": SECRET[:20],
    "S3_SECRET_ACCESS_KEY": SECRET,
    "DEVIANTART_CLIENT_ID": "12345",
    "DEVIANTART_CLIENT_SECRET": SECRET,
}


class Missing(Exception):
    """A variable that must be set is not."""


def interpolate(value: Any, environment: Mapping[str, str]) -> Any:
    """As compose does: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}`` and ``$$``, through the whole tree."""
    if isinstance(value, dict):
        return {key: interpolate(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolate(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, operator, argument = match[1], match[2] or "", match[3] or ""
        if found := environment.get(name):
            return found
        if operator == ":?":
            raise Missing(name, argument)
        return argument

    return re.sub(r"\$\$|\$\{([A-Z0-9_]+)(?:(:-|:\?)([^}]*))?\}", fill, value)


def load(path: str) -> dict[str, Any]:
    return yaml.safe_load((PROJECT / path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return load("docker-compose.yml")


@pytest.fixture(scope="module")
def services(compose) -> dict[str, Any]:
    return interpolate(compose["services"], FILLED_IN)


@pytest.fixture(scope="module")
def dockerfile() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, by its name."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            current = stages.setdefault(rest.split(" AS ")[1], [("FROM", rest.split()[0])])
        elif instruction and stages:
            current.append((instruction, rest.strip()))
    return stages


def only(stage: list[tuple[str, str]], instruction: str) -> str:
    [found] = [rest for name, rest in stage if name == instruction]
    return found


def seconds(duration: str) -> int:
    return int(re.fullmatch(r"(\d+)s", duration)[1])  # type: ignore[index]


# --- the same processes ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_the_command_of_the_devstack(services, name):
    assert services[name]["command"] == list(OURS[name].command)


def test_the_concurrency_of_the_publisher_is_the_setting(compose):
    command = interpolate(compose["services"]["publisher"]["command"], {**FILLED_IN, "PUBLISHER_CONCURRENCY": "50"})
    assert command == list(processes.publisher(50).command)
    assert settings.PUBLISHER_CONCURRENCY == processes.DEFAULT_PUBLISHER_CONCURRENCY


def test_nothing_else_of_ours_runs(services):
    assert {name for name, service in services.items() if service["image"] == "isekai"} == {*OURS, "migrate"}


def test_every_queue_has_a_worker_and_no_worker_waits_for_another_one():
    listened = [queue for process in OURS.values() for queue in process.queues]
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    assert sorted(listened) == sorted(routed | {settings.CELERY_TASK_DEFAULT_QUEUE})


def test_each_part_is_asked_for_its_health_on_its_own_port(services):
    for name, process in OURS.items():
        if process.port is None:
            assert services[name]["healthcheck"] == {"disable": True}
            continue
        assert services[name]["healthcheck"]["test"] == [
            "CMD",
            "python",
            "deploy/healthcheck.py",
            str(process.port),
            "/health",
        ]
        if process.queues:
            assert services[name]["environment"]["HEALTH_CHECK_PORT"] == process.port
        assert ("PROMETHEUS_MULTIPROC_DIR" in services[name]["environment"]) == process.shares_metrics


def test_a_publisher_has_more_time_to_end_than_its_drain_takes(services):
    drain = settings.PUBLISHER_DRAIN_SECONDS / settings.ISEKAI_TIME_SCALE
    assert drain == 75
    for name in ("publisher", "worker", "media"):
        assert seconds(services[name]["stop_grace_period"]) >= drain + 10
    assert drain < processes.STOP_SECONDS


def test_the_image_runs_web_when_it_is_told_nothing(dockerfile):
    stage = dockerfile["isekai"]
    assert json.loads(only(stage, "CMD")) == list(OURS["web"].command)
    assert json.loads(only(stage, "HEALTHCHECK").partition("CMD ")[2])[2:] == ["4000", "/health"]


# --- the same settings -----------------------------------------------------------------------------------------------
def test_the_services_know_every_setting(services):
    # What belongs to one process, or to trials and tests alone, is not handed on.
    elsewhere = {
        "DEVIANTART_BASE_URL",
        "HEALTH_CHECK_PORT",
        "ISEKAI_DEBUG",
        "ISEKAI_ENV",
        "ISEKAI_FAULTS_DIRECTORY",
        "ISEKAI_TIME_SCALE",
        "PROMETHEUS_MULTIPROC_DIR",
    }
    for name in (*OURS, "migrate"):
        known = set(services[name]["environment"]) - {"HEALTH_CHECK_PORT", "PROMETHEUS_MULTIPROC_DIR"}
        assert known == settings_names() - elsewhere - COMPOSE_ALONE


@pytest.mark.parametrize("name", FILLED_IN)
def test_a_missing_value_stops_it_with_a_word_on_what_to_do(compose, name):
    with pytest.raises(Missing) as missing:
        interpolate(compose, {key: value for key, value in FILLED_IN.items() if key != name})
    assert missing.value.args[0] == name
    assert len(missing.value.args[1]) > 10


def test_no_secret_has_a_default():
    for path in ("docker-compose.yml", "deploy/proxy.yml"):
        text = (PROJECT / path).read_text(encoding="utf-8")
        for name, operator in re.findall(r"\$\{([A-Z0-9_]+)(:-|:\?)?", text):
            if re.search(r"SECRET|PASSWORD|KEY", name):
                assert operator == ":?", name
    example = (PROJECT / ".env.example").read_text(encoding="utf-8")
    assert not re.findall(r"^#?[A-Z0-9_]*(?:SECRET|PASSWORD|KEY)[A-Z0-9_]*=.+", example, re.MULTILINE)


def run_python(*arguments: str, env: Mapping[str, str], cwd: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=dict(env), cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.processes
def test_the_settings_of_a_service_are_enough_for_production(services):
    given = {name: str(value) for name, value in services["publisher"]["environment"].items() if value is not None}
    env = {**without_settings(os.environ), **given, "ISEKAI_ENV": "production"}
    checked = run_python("manage.py", "check", "--deploy", "--fail-level", "WARNING", env=env)
    assert checked.returncode == 0, checked.stderr


# --- nothing that it should not hold ---------------------------------------------------------------------------------
def test_only_web_can_be_reached_from_the_host(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:4000:4000"]}


def test_databases_and_files_have_no_way_out(compose, services):
    assert compose["networks"]["inner"] == {"internal": True}
    for name in ("postgres", "redis", "media", "beat", "migrate"):
        assert services[name]["networks"] == ["inner"]


def test_every_container_is_hardened(services):
    for name, service in [*services.items(), *load("deploy/proxy.yml")["services"].items()]:
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"]), name
        assert "privileged" not in service, name
        assert ":latest" not in service["image"], name


def test_every_container_of_a_server_is_asked_for_its_health(services):
    for name in ("postgres", "redis", "s3"):
        assert services[name]["healthcheck"]["test"]
    for name in OURS:
        waits = services[name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", ["isekai", "storage"])
def test_an_image_runs_as_a_fixed_user(dockerfile, name):
    assert only(dockerfile[name], "USER") == "10001:10001"
    assert "--uid 10001" in only(dockerfile["base"], "RUN")


def test_an_image_holds_no_tools_of_development_and_no_secret(dockerfile):
    installs = [rest for stage in dockerfile.values() for name, rest in stage if name == "RUN" and "uv sync" in rest]
    assert len(installs) == 2
    for install in installs:
        assert "--locked" in install
        assert "--no-default-groups" in install or "--only-group storage" in install
    for name, rest in dockerfile["isekai"] + dockerfile["base"] + dockerfile["storage"]:
        assert not (name in {"ENV", "ARG"} and re.search(r"SECRET|PASSWORD|KEY", rest))


def test_nothing_gets_into_the_build_by_accident():
    first, *rest = [
        line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert first == "*"
    allowed = {line.removeprefix("!") for line in rest if line.startswith("!")}
    assert {"isekai", "manage.py", "static", "templates", "uv.lock"} <= allowed
    assert allowed.isdisjoint({".env", ".git", "var", "tests", "docs", ".venv"})


# --- what can run without Docker, run --------------------------------------------------------------------------------
def build_context(folder: Path) -> Path:
    """What .dockerignore lets into the build."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    for name in [line.removeprefix("!") for line in lines if line.startswith("!")]:
        source, target = PROJECT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    for name in [line for line in lines if line and line[0] not in "!#*"]:
        shutil.rmtree(folder / name)
    return folder


@pytest.mark.processes
def test_the_static_files_are_gathered_by_the_command_of_the_build(dockerfile, tmp_path):
    context = build_context(tmp_path)
    [command] = [rest for name, rest in dockerfile["build-isekai"] if name == "RUN" and "collectstatic" in rest]
    bare = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "ISEKAI_ENV": "production"}
    built = subprocess.run(["sh", "-c", command], env=bare, cwd=context, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    assert (context / "staticfiles" / "staticfiles.json").exists()


@pytest.fixture
def log(tmp_path) -> LogFile:
    return LogFile(tmp_path / "log")


@pytest.fixture
def redis_port(services, tmp_path, log) -> Iterator[int]:
    """The server of compose's redis, with this machine's binary, folders and port."""
    [port] = free_ports(1)
    folder = tmp_path / "redis"
    folder.mkdir()
    shell, option, script = services["redis"]["command"]
    script = script.replace("/data", str(folder)).replace("/tmp/redis.conf", str(tmp_path / "redis.conf"))
    script = script.replace("valkey-server", shlex.quote(valkey_binary()))
    env = {"PATH": os.environ["PATH"], **services["redis"]["environment"]}
    child = Child("redis", [shell, option, f"{script.rstrip()} --port {port} --bind {HOST}"], env=env, sink=log)
    yield port
    child.stop(5)


def test_the_redis_of_compose_asks_for_its_password_and_keeps_what_it_holds(redis_port, log):
    wait_until(lambda: not is_free(redis_port), what=log.tail())
    with pytest.raises(redis.AuthenticationError):
        # A refused password counts as a connection that may yet come, and is otherwise tried again for seconds.
        redis.Redis(HOST, redis_port, retry=Retry(NoBackoff(), 0)).ping()
    found = redis.Redis(HOST, redis_port, password=SECRET, decode_responses=True).config_get("*")
    expected = {"appendonly": "yes", "maxmemory-policy": "noeviction", "save": ""}
    assert {name: found[name] for name in expected} == expected


@pytest.fixture
def storage_ports(services, tmp_path, log) -> Iterator[dict[str, int]]:
    """The server of compose's s3, with this machine's binary, folder and ports."""
    names = ("s3.port", *SeaweedFS.INNER_PORTS)
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    program, *arguments = services["s3"]["command"]
    assert program == "weed"
    kept = [each for each in arguments if not each.startswith(("-dir=", "-ip.bind=", "-s3.port="))]
    kept += [f"-dir={tmp_path}", f"-ip.bind={HOST}", "-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"]
    kept += [f"-{name}={port}" for name, port in ports.items()]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **services["s3"]["environment"]}
    child = Child("s3", [seaweed_binary(), *kept], env=env, cwd=tmp_path, sink=log)
    yield ports
    child.kill()
    for port in ports.values():
        for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port + GRPC_OFFSET}.sock"):
            left.unlink(missing_ok=True)


def answered(address: str) -> int:
    try:
        return requests.get(address, timeout=2).status_code
    except requests.ConnectionError:
        return 0


def test_the_s3_of_compose_is_shut_to_whoever_does_not_sign(storage_ports, log):
    bucket = f"http://{HOST}:{storage_ports['s3.port']}/isekai"
    wait_until(lambda: answered(bucket), what=log.tail())
    assert answered(bucket) == 403
    wait_until(lambda: answered(f"http://{HOST}:{storage_ports['filer.port']}/buckets/"), what=log.tail())
    assert answered(f"http://{HOST}:{storage_ports['filer.port']}/buckets/") == 401
    asked = requests.options(
        bucket, headers={"Origin": "https://isekai.invalid", "Access-Control-Request-Method": "POST"}, timeout=5
    )
    assert asked.headers["Access-Control-Allow-Origin"] == "https://isekai.invalid"


def test_a_container_is_well_only_while_its_process_answers(storage_ports, log):
    port = str(storage_ports["s3.port"])
    wait_until(lambda: answered(f"http://{HOST}:{port}/"), what=log.tail())
    well = run_python("deploy/healthcheck.py", port, "/", env={})
    assert (well.returncode, well.stdout) == (0, f"/ on port {port}: 403\n")
    [nobody] = free_ports(1)
    assert run_python("deploy/healthcheck.py", str(nobody), "/health", env={}).returncode == 1
