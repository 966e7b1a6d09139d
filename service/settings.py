"""Every environment variable the gateway reads, in one place. Read once in `create_app`, handed down from there."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from signet_client.license_payload import is_server

Network = IPv4Network | IPv6Network


class Settings(BaseSettings):
    """Command line over environment (`SIGNET_...`) over these defaults."""

    model_config = SettingsConfigDict(env_prefix="SIGNET_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(Path(".signet"), description="keys, artefacts and the SQLite file; mode 0700 (operator)")
    database_url: SecretStr = Field(
        SecretStr(""), description="PostgreSQL or SQLite URL; empty: SQLite under the home (operator)"
    )
    environment: Literal["development", "production"] = Field(
        "development", description="production hides the API docs"
    )
    server_url: str = Field("http://127.0.0.1:8000", description="where licensees reach us; goes into license files")
    networks: dict[str, str] = Field({}, description='operator\'s architectures: {"name": "package.module:factory"}')
    data_dir: Path | None = Field(None, description="data sets for training with `signet model protect` (owner)")

    max_body_bytes: PositiveInt = Field(16 * 2**20, description="largest request body of a prediction or session")
    max_artefact_bytes: PositiveInt = Field(2 * 2**30, description="largest body with weights in it (owner)")
    body_timeout_s: PositiveFloat = Field(30.0, description="how long a caller may take to send a body")
    max_images_per_request: PositiveInt = Field(1024, description="of any caller, whatever the license says")
    max_image_pixels: PositiveInt = Field(4 * 2**20, description="largest picture decoded, before any resizing")
    max_batch: PositiveInt = Field(64, description="rows of one forward pass")
    max_queued: PositiveInt = Field(1024, description="requests waiting for the network; beyond: 503")

    session_ttl_s: PositiveInt = Field(3600, description="life of a session token")
    address_rate_per_s: PositiveFloat = Field(
        500.0, description="requests per second and client address, before identity"
    )
    address_burst: PositiveInt = Field(2000, description="requests an address may send at once")
    stamp_misses_per_minute: PositiveInt = Field(
        60, description="requests with unknown stamps per client address, a minute's worth at once; sessions pass by"
    )
    engines: Annotated[tuple[Literal["eager", "torchscript", "onnxruntime", "inductor"], ...], NoDecode] = Field(
        ("eager", "torchscript", "onnxruntime"),
        min_length=1,
        description="with commas between: of which the fastest, as measured here, runs a version (operator)",
    )
    loaded_bytes: PositiveInt = Field(
        4 * 2**30, description="model versions in memory at once; beyond, the least recently asked go first (operator)"
    )
    students_kept: PositiveInt = Field(
        16, description="students in memory at once, each the size of its weights; the least recently used goes first"
    )
    stranger_share: float = Field(0.2, gt=0, le=1, description="capacity left to strangers while licensees are served")

    tracing: bool = Field(False, description="a span for each request by OpenTelemetry: OTEL_EXPORTER_OTLP_ENDPOINT")
    poll_interval_s: PositiveFloat = Field(0.1, description="how soon a change made by another process is seen")
    worker_lease_s: PositiveFloat = Field(10.0, description="silence after which a worker's reservations are released")
    worker_threads: PositiveInt = Field(1, description="cores that a job may take from those who are served (operator)")
    refusal_flush_s: PositiveFloat = Field(5.0, description="how often counted refusals are written down")
    behind_proxy: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="CIDRs, with commas between, of the proxies whose X-Forwarded-For is believed (operator)"
    )

    @field_validator("engines", mode="before")
    @classmethod
    def _engines(cls, value: object) -> object:
        return [part.strip() for part in value.split(",")] if isinstance(value, str) else value

    @field_validator("behind_proxy", mode="before")
    @classmethod
    def _behind_proxy(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return [ip_network(part.strip()) for part in value.split(",") if part.strip()]
        except ValueError:
            raise ValueError("not networks with commas between, such as 10.0.0.0/8,fd00::/8") from None

    @field_validator("server_url")
    @classmethod
    def _server_url(cls, url: str) -> str:
        url = url.rstrip("/")
        if not is_server(url):  # licensees' clients ask the same of the license file that it goes into
            raise ValueError("not a URL of the form https://host[:port][/path], without user, query or fragment")
        return url

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value():
            return url
        from sqlalchemy.engine import make_url  # not for `--help`
        from sqlalchemy.exc import ArgumentError

        try:
            make_url(url.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError("not a database URL; in a password, @ : / and % are written %40 %3A %2F %25") from None
        return url

    def resolved_database_url(self) -> str:
        """The SQLAlchemy URL with its async driver."""
        given = self.database_url.get_secret_value()
        if not given:
            return f"sqlite+aiosqlite:///{self.home.resolve() / 'signet.db'}"
        scheme, _, rest = given.partition("://")
        drivers = {"postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
        return f"{drivers.get(scheme, scheme)}://{rest}"


def complaint(error: ValidationError) -> str:
    """Which environment variables are wrong, and why; never what they hold."""
    return "; ".join(
        f"SIGNET_{str(item['loc'][0]).upper()}: {str(item['msg']).removeprefix('Value error, ')}"
        for item in error.errors()
    )
