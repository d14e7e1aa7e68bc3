"""`publish`: the project's files in a registry, for others to name with `-f oci://…`."""

from __future__ import annotations

import click
from pycompose.compose.app.choices import Choices
from pycompose.compose.cli.command import command
from pycompose.compose.cli.docker_call import SPEAKS
from pycompose.compose.cli.drawing import Drawing
from pycompose.compose.cli.output import terminal


@command("publish", interrupted="`pycompose publish` again goes on")
@click.option("--resolve-image-digests", is_flag=True, help="Pin each image to the digest that its registry has now.")
@click.option("--with-env", is_flag=True, help="Publish env files, too, and do not ask about variables.")
@click.option("--app", is_flag=True, help="Publish the images of services in the same repository, too.")
@click.option("--oci-version", type=click.Choice(["1.0", "1.1"]), metavar="1.0|1.1", help="Of the manifest; else 1.1.")
@click.option("--insecure-registry", is_flag=True, hidden=True, help="Without TLS, or with any certificate.")
@click.option("-y", "--yes", is_flag=True, help="Answer every question with yes.")
@click.argument("repository", metavar="REPOSITORY[:TAG]")
@click.pass_obj
def publish(
    choices: Choices,
    resolve_image_digests: bool,
    with_env: bool,
    app: bool,
    oci_version: str | None,
    insecure_registry: bool,
    yes: bool,
    repository: str,
) -> None:
    """Publish the compose files in a registry.

    They go as they are written, with the files that they extend; values of variables do not. What may be a secret is
    asked about first; images that are built are pushed.
    """
    from pycompose.compose.app.publishing import PublishOptions
    from pycompose.compose.app.publishing import publish as publish_files

    options = PublishOptions(resolve_image_digests, with_env, oci_version or "", insecure_registry, app, SPEAKS)
    publish_files(choices, repository, options, (lambda _: True) if yes else terminal.confirmed, Drawing())
