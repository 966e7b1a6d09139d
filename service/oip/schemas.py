"""The protocol's documents about servers and models."""

from typing import Any

from pydantic import BaseModel, Field


class ServerMetadata(BaseModel):
    """Who answers, and which extensions are spoken."""

    name: str
    version: str
    extensions: list[str]


class Health(BaseModel):
    """Both words, since clients look for one or the other."""

    live: bool
    ready: bool


class TensorMetadata(BaseModel):
    """An input or output; -1 stands for however many images."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model's versions, and what it takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorConfig(BaseModel):
    """A tensor as a configuration has it: without the dimension that counts images."""

    name: str
    data_type: str
    dims: list[int]
    labels: list[str] | None = Field(None, description="of a classification")
    reshape: dict[str, list[int]] | None = Field(None, description="what the tensor has beside the images, if not dims")


class ModelConfig(BaseModel):
    """The model configuration extension, as far as it says something here."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
    version_policy: dict[str, Any]
    dynamic_batching: dict[str, Any]


class IndexEntry(BaseModel):
    """A version in the repository."""

    name: str
    version: str
    state: str
    reason: str


class IndexRequest(BaseModel):
    """Which versions are listed."""

    ready: bool = Field(False, description="only those that answer")


class RepositoryRequest(BaseModel):
    """How a model is loaded or unloaded."""

    parameters: dict[str, Any] = {}


class Duration(BaseModel):
    """How often, and nanoseconds in all."""

    count: int
    ns: int


class InferenceStatistics(BaseModel):
    """Of requests, leg by leg."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class VersionStatistics(BaseModel):
    """Of one version, in this process, since it started."""

    name: str
    version: str
    last_inference: int = Field(description="milliseconds since 1970; 0: none yet")
    inference_count: int = Field(description="images that went through the network")
    execution_count: int = Field(description="batches")
    inference_stats: InferenceStatistics


class ModelStatistics(BaseModel):
    """The statistics extension."""

    model_stats: list[VersionStatistics]
