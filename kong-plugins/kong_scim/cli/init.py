"""``kong-scim init`` writes what a first set-up needs, and prints the steps that are left."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import click
import yaml

from kong_scim.cli.printing import failure, say
from kong_scim.config.plugin import ConfigurationError, parse
from kong_scim.doctor.providers import providers

CONFIG = "kong-scim.yml"
ENVIRONMENT = "kong-scim.env"
ADMIN = "kong-scim.admin.env"
COMPOSE = "kong-scim.compose.yml"
VALUES = "kong-scim.values.yaml"

_PRIVATE, _PUBLIC = 0o600, 0o644
_BYTES = 32
"""Random bytes of a token: as many as a SHA-256 has."""

_PAGES = {"compose": "docker", "systemd": "systemd", "helm": "kubernetes"}
"""The page in ``docs/install/`` that explains the steps of a place."""


@dataclass(frozen=True)
class Answers:
    """What was asked.

    :param http: Whether plain HTTP is allowed, for a trial on one machine.
    """

    tenant: str
    provider: str
    database: str
    place: str
    path: str
    directory: Path
    http: bool

    @property
    def dbless(self) -> bool:
        return self.database == "off"


@click.command()
@click.option("--tenant", prompt="Tenant", default="default", help="A name for the provider.")
@click.option(
    "--provider",
    prompt="Identity provider",
    type=click.Choice(sorted(providers())),
    help="The identity provider that will send its people.",
)
@click.option(
    "--database",
    prompt="Kong's database (off: DB-less)",
    type=click.Choice(["postgres", "off"]),
    default="postgres",
    help="Whether Kong has PostgreSQL, or is DB-less.",
)
@click.option(
    "--for",
    "place",
    prompt="How Kong is run",
    type=click.Choice(["compose", "systemd", "helm"]),
    default="compose",
    help="For which way to run Kong the steps are printed.",
)
@click.option("--path", default="/scim/v2", show_default=True, help="The path of the route.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="the current one",
    help="Where the files are written.",
)
@click.option("--http", is_flag=True, help="Allow plain HTTP: for a trial on one machine only.")
@click.option("--force", is_flag=True, help="Overwrite files that differ, and make new tokens.")
def init(  # noqa: PLR0917 - one parameter per option
    tenant: str,
    provider: str,
    database: str,
    place: str,
    path: str,
    directory: Path,
    http: bool,
    force: bool,
) -> None:
    """Write a configuration and secrets for a first set-up, and print the steps that are left.

    What is not given as an option is asked. Run again with the same answers, it changes nothing; a
    file with something else in it is only overwritten with --force.
    """
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-]", path):
        raise click.UsageError("--path is a path such as /scim/v2")
    answers = Answers(tenant, provider, database, place, path, directory.absolute(), http)
    written = _files(answers, fresh=force)
    _refuse_to_overwrite(written, force=force)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for file, (text, mode) in written.items():
            state = "kept" if _has(file, text) else "written"
            _write(file, text, mode)
            say(f"{state}: {file}" + (" (only you may read it)" if mode == _PRIVATE else ""))
    except OSError as error:
        raise failure(f"{error.filename or directory}: {error.strerror}") from None
    say("", *_steps(answers))


# -- The files ----------------------------------------------------------------


def _files(answers: Answers, *, fresh: bool) -> dict[Path, tuple[str, int]]:
    """Return the text and the mode of each file, those with secrets first.

    :param fresh: Whether to make new tokens also where files with tokens are there.
    """
    directory = answers.directory
    known = {} if fresh else {**_values(directory / ENVIRONMENT), **_values(directory / ADMIN)}

    def secret(name: str) -> str:
        return known.get(name) or secrets.token_urlsafe(_BYTES)

    admin = secret("SCIM_ADMIN_TOKEN")
    environment = {"SCIM_TOKEN": secret("SCIM_TOKEN")}
    if answers.place == "compose" and not answers.dbless:
        environment["POSTGRES_PASSWORD"] = secret("POSTGRES_PASSWORD")
    if answers.place == "systemd" and answers.dbless:
        environment |= {
            "KONG_DATABASE": "off",
            "KONG_DECLARATIVE_CONFIG": "/etc/kong-scim/kong.yml",
        }
    if answers.place == "systemd" and not answers.dbless:
        environment |= {
            "KONG_DATABASE": "postgres",
            "KONG_PG_HOST": known.get("KONG_PG_HOST", "127.0.0.1"),
            "KONG_PG_PASSWORD": known.get("KONG_PG_PASSWORD", ""),
        }
    config = _config(answers, hashlib.sha256(admin.encode()).hexdigest())
    files = {
        ENVIRONMENT: (
            "# Secrets of Kong. SCIM_TOKEN is the bearer token for the identity provider.\n"
            + _lines(environment),
            _PRIVATE,
        ),
        ADMIN: (
            "# The administrator's token, for kong-scim on the command line. Kong does not need "
            "it.\n" + _lines({"SCIM_ADMIN_TOKEN": admin}),
            _PRIVATE,
        ),
        CONFIG: (config, _PUBLIC),
    }
    if answers.place == "compose":
        files[COMPOSE] = (_compose(answers), _PUBLIC)
    if answers.place == "helm" and answers.dbless:
        files[VALUES] = (_helm(config), _PUBLIC)
    return {directory / name: content for name, content in files.items()}


def _config(answers: Answers, admin_digest: str) -> str:
    """Return the declarative configuration: the guard, and the route with the plugin."""
    config: dict[str, Any] = {
        "tenant": answers.tenant,
        "tokens": [
            {"name": answers.provider, "value": "{vault://env/scim-token}"},
            {"name": "admin", "sha256": admin_digest, "scopes": ["scim:admin"]},
        ],
    }
    if answers.http:
        config["require_https"] = False
    try:
        parse(config)
    except ConfigurationError as error:
        raise failure(str(error)) from None
    plugin = {"name": "scim", "config": config}
    tree = {
        "_format_version": "3.0",
        "plugins": [{"name": "scim-bridge"}],
        "routes": [{"name": "scim", "paths": [answers.path], "plugins": [plugin]}],
    }
    return (
        "# Written by `kong-scim init`. Add services and routes of your APIs. All fields of the\n"
        "# plugin scim are in docs/configuration.md. The route of SCIM has no service on purpose.\n"
        + yaml.safe_dump(tree, sort_keys=False)
    )


def _compose(answers: Answers) -> str:
    mount = {
        "type": "bind",
        "source": str(answers.directory / CONFIG),
        "target": "/etc/kong-scim/kong.yml",
        "read_only": True,
    }
    service = "kong" if answers.dbless else "configuration"
    tree = {"services": {service: {"volumes": [mount]}}}
    return "# Written by `kong-scim init`: the configuration in place of the example's.\n" + (
        yaml.safe_dump(tree, sort_keys=False)
    )


def _helm(config: str) -> str:
    indented = "".join(f"    {line}\n" for line in config.splitlines())
    return (
        "# Written by `kong-scim init`, for Kong's Helm chart, after values.dbless.yaml.\n"
        f"dblessConfig:\n  config: |\n{indented}"
    )


def _lines(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


def _values(file: Path) -> dict[str, str]:
    """Return the variables of an environment file, none if it cannot be read."""
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if not line.startswith("#"))
    return {name: value for name, _, value in pairs if value}


def _has(file: Path, text: str) -> bool:
    try:
        return file.read_text() == text
    except (OSError, UnicodeDecodeError):
        return False


def _refuse_to_overwrite(files: Mapping[Path, tuple[str, int]], *, force: bool) -> None:
    """End the command before anything is written, if a file has something else in it."""
    others = [file for file, (text, _) in files.items() if file.exists() and not _has(file, text)]
    if others and not force:
        raise failure(
            f"{', '.join(str(each) for each in others)}: there is something else in it already. "
            "Give the answers of the first time, another --directory, or --force, which makes new "
            "tokens too"
        )


def _write(file: Path, text: str, mode: int) -> None:
    """Write a file at once: nobody reads half of it, or a secret before its mode is right."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w") as new:
            new.write(text)
        Path(name).chmod(mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# -- The steps ----------------------------------------------------------------


def _steps(answers: Answers) -> list[str]:
    """Return the text that is printed at the end."""
    at = {name: quote(str(answers.directory / name)) for name in (CONFIG, ENVIRONMENT, ADMIN)}
    write = {"compose": _compose_steps, "systemd": _systemd_steps, "helm": _helm_steps}
    provider = providers()[answers.provider]
    return [
        f"Start Kong, with these in the repository (docs/install/{_PAGES[answers.place]}.md):",
        "",
        *(f"  {line}" for line in write[answers.place](answers, at)),
        "",
        "Provision the first person, as the identity provider does:",
        "",
        f"  . {at[ENVIRONMENT]}; . {at[ADMIN]}",
        f"  curl -k https://localhost:8443{answers.path}/Users "
        '-H "Authorization: Bearer $SCIM_TOKEN" \\',
        '    -H "Content-Type: application/scim+json" \\',
        '    -d \'{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], '
        '"userName": "alice@example.com"}\'',
        "  curl http://localhost:8001/consumers/alice@example.com",
        "",
        "Look whether all is well; --insecure is for Kong's self-made certificate:",
        "",
        f'  SCIM_TOKEN="$SCIM_ADMIN_TOKEN" kong-scim doctor --insecure '
        f"--url https://localhost:8443{answers.path} --provider {answers.provider}",
        "",
        f"Then connect {provider['name']} ({provider['page']}):",
        "",
        f"  {provider['enter']}",
        f"  URL: https://<your gateway>{answers.path}, with a certificate that the provider trusts",
        f"  token: the value of SCIM_TOKEN in {at[ENVIRONMENT]}",
    ]


def _compose_steps(answers: Answers, at: Mapping[str, str]) -> list[str]:
    base = "kong-plugins/docker-compose.dbless.yml" if answers.dbless else "docker-compose.yml"
    own = quote(str(answers.directory / COMPOSE))
    return [
        f"docker compose --project-directory . --env-file {at[ENVIRONMENT]} \\",
        f"  --file {base} --file {own} up --build --detach",
    ]


def _systemd_steps(answers: Answers, at: Mapping[str, str]) -> list[str]:
    steps = [
        "# as root: the user, the plugin server and the Lua files",
        "install -m 644 kong-plugins/systemd/kong-scim.sysusers /etc/sysusers.d/kong-scim.conf",
        "systemd-sysusers",
        "python3 -m venv /opt/kong-scim/venv",
        "/opt/kong-scim/venv/bin/pip install --require-hashes --no-deps -r requirements.lock",
        "make wheel",
        "/opt/kong-scim/venv/bin/pip install --no-deps dist/kong_scim-*.whl",
        "install -m 644 kong-plugins/systemd/kong-scim.service /etc/systemd/system/",
        "(cd kong-plugins && luarocks make)",
        "# the files that were written",
        "install -d -m 750 -g kong-scim /etc/kong-scim",
        f"install -m 600 {at[ENVIRONMENT]} /etc/kong-scim/kong.env",
        f"install -m 640 {at[CONFIG]} /etc/kong-scim/kong.yml",
        "install -D -m 644 kong-plugins/systemd/kong.conf "
        "/etc/systemd/system/kong.service.d/kong-scim.conf",
    ]
    if not answers.dbless:
        steps += [
            "# set KONG_PG_HOST and KONG_PG_PASSWORD in /etc/kong-scim/kong.env, then",
            "(set -a; . /etc/kong-scim/kong.env; export KONG_PLUGINS=bundled,scim,scim-bridge",
            " kong migrations bootstrap && kong migrations up && kong migrations finish &&",
            " kong config db_import /etc/kong-scim/kong.yml)",
        ]
    return [
        *steps,
        "# start both",
        "systemctl daemon-reload",
        "systemctl enable --now kong-scim",
        "systemctl enable kong && systemctl restart kong",
    ]


def _helm_steps(answers: Answers, at: Mapping[str, str]) -> list[str]:
    steps = [
        "# the plugin server's image, and its name at `image:` of the container plugin-server",
        "make image IMAGE=registry.example.com/kong-scim-plugin-server:0.1.0",
        "docker push registry.example.com/kong-scim-plugin-server:0.1.0",
        "kubectl create namespace kong",
        f". {at[ENVIRONMENT]}",
        "kubectl --namespace kong create secret generic kong-scim \\",
        '  --from-literal=scim-token="$SCIM_TOKEN"'
        + ("" if answers.dbless else " --from-literal=pg-password=the-password-of-kong"),
        "(cd kong-plugins/kong/plugins",
        " kubectl --namespace kong create configmap kong-plugin-scim --from-file=scim",
        " kubectl --namespace kong create configmap kong-plugin-scim-bridge "
        "--from-file=scim-bridge",
        " kubectl --namespace kong create configmap kong-plugin-scim-bridge-migrations "
        "--from-file=scim-bridge/migrations)",
        "helm repo add kong https://charts.konghq.com",
    ]
    install = "helm install gateway kong/kong --version 3.4.1 --namespace kong --wait \\"
    if answers.dbless:
        values = quote(str(answers.directory / VALUES))
        steps += [
            "# make the block volume kong-scim-data: step 4 of that page",
            install,
            f"  --values kong-plugins/helm/values.dbless.yaml --values {values}",
        ]
    else:
        steps += [
            "# set env.pg_host in kong-plugins/helm/values.yaml, then",
            install,
            "  --values kong-plugins/helm/values.yaml",
        ]
    steps += [
        "kubectl --namespace kong port-forward service/gateway-kong-proxy 8443:443 &",
        "kubectl --namespace kong port-forward service/gateway-kong-admin 8001:8001 &",
    ]
    if not answers.dbless:
        steps.append(f"deck gateway sync {at[CONFIG]} --skip-consumers")
    return steps
