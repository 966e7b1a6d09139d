"""What servers and models say of themselves, from the book and the versions that are loaded."""

from importlib.metadata import version

from models.specs import InputSpec, OutputSpec
from service.control.book import ModelRecord, VersionRecord
from service.oip.datatypes import BYTES
from service.oip.request import LABEL, SCORES
from service.oip.schemas import IndexEntry, ModelConfig, ModelMetadata, ServerMetadata, TensorConfig, TensorMetadata

PLATFORM, BACKEND = "pytorch", "signet"
EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]


def server() -> ServerMetadata:
    """This gateway."""
    return ServerMetadata(name="signet", version=version("signet-gateway"), extensions=EXTENSIONS)


def model(record: ModelRecord, spec: InputSpec, output: OutputSpec) -> ModelMetadata:
    """One version's inputs and outputs, and the versions there are."""
    versions = [str(number) for number in sorted(record.versions) if record.is_in_use(number)]
    inputs = [TensorMetadata(name=spec.name, datatype="FP32", shape=[-1, *spec.shape])]
    scores = TensorMetadata(name=SCORES, datatype="FP32", shape=[-1, output.classes])
    label = TensorMetadata(name=LABEL, datatype=BYTES, shape=[-1])
    return ModelMetadata(name=record.name, versions=versions, platform=PLATFORM, inputs=inputs, outputs=[scores, label])


def config(name: str, spec: InputSpec, output: OutputSpec, most: int) -> ModelConfig:
    """One version's configuration; `most` images are taken in one request."""
    labels = list(output.labels)
    return ModelConfig(
        name=name,
        platform=PLATFORM,
        backend=BACKEND,
        max_batch_size=most,
        input=[TensorConfig(name=spec.name, data_type="TYPE_FP32", dims=list(spec.shape))],
        output=[
            TensorConfig(name=SCORES, data_type="TYPE_FP32", dims=[output.classes], labels=labels),
            TensorConfig(name=LABEL, data_type="TYPE_STRING", dims=[1], reshape={"shape": []}),
        ],
        version_policy={"all": {}},
        dynamic_batching={"max_queue_delay_microseconds": 0},
    )


def indexed(model: ModelRecord, record: VersionRecord, failure: str | None) -> IndexEntry:
    """One version as the repository lists it; `failure` says why it cannot be served."""
    reason = "retired" if record.state == "retired" else "unloaded" if model.unloaded else failure or ""
    state = "UNAVAILABLE" if reason else "READY"
    return IndexEntry(name=record.model_name, version=str(record.number), state=state, reason=reason)
