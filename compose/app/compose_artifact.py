"""The artifact that a project is in a registry: media types and annotations, as docker compose writes them."""

ARTIFACT = "application/vnd.docker.compose.project"
OLD_CONFIG = "application/vnd.docker.compose.config.empty.v1+json"
FILE = "application/vnd.docker.compose.file+yaml"
ENV_FILE = "application/vnd.docker.compose.envfile"
NOTE = "com.docker.compose."
