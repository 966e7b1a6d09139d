"""What can be wrong with a model, its data or a fingerprint; every error names the field that is to blame.

ModelError
├── SpecError             an input, output or network description
├── WeightsError          the bytes of a weights file
├── ManifestError         the signed statement beside the weights
├── CalibrationError      the inputs that come with a version
├── AllotmentError        confidences that cannot exist or cannot be told apart
├── GenerationError       a fingerprint that could not be asked for
├── WatermarkError        a mark, its commitment or a network that cannot carry it
├── SerialNumberError     a statement, a number or a stamp that do not fit together
├── EngineError           a way to run a network that is not there, or answers otherwise
└── DatasetUnavailable    data that is not on this machine
"""


class ModelError(Exception):
    """Base of the tree.

    `field` names what is wrong as the caller knows it (`input_spec.shape`, `weights.fc1.bias`); `message` says why.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class SpecError(ModelError):
    """A description of inputs, outputs or a network is missing, superfluous, of the wrong type or impossible."""


class WeightsError(ModelError):
    """A weights file is not safetensors, or does not fit the network tensor by tensor."""


class ManifestError(ModelError):
    """A manifest is malformed, not canonical, signed by nobody we know, or about other bytes."""


class CalibrationError(ModelError):
    """A calibration set is too small, of another shape, not finite or out of range."""


class AllotmentError(ModelError):
    """A fingerprint output cannot exist with this many classes, or lies too close to another one."""


class GenerationError(ModelError):
    """Fingerprints were asked for with sources, outputs or randomness that do not fit together."""


class WatermarkError(ModelError):
    """A mark does not fit its layer, a commitment is malformed or opened by another key, a suspect cannot be read."""


class SerialNumberError(ModelError):
    """A statement or policy is malformed, a number has too few bits or belongs to another, a stamp does not fit."""


class EngineError(ModelError):
    """An engine cannot be built on this machine, or its answers are not the network's."""


class DatasetUnavailable(ModelError):
    """A data set is not known, not on this machine, or not what it should be."""
