"""The form of an answer, for the API's documentation; the serving path writes it without Pydantic."""

from pydantic import BaseModel, ConfigDict, Field


class Prediction(BaseModel):
    """The answer to one image."""

    index: int = Field(description="position of the class")
    label: str
    scores: list[float] = Field(description="one a class; they add up to 1")


class PredictionsRead(BaseModel):
    """Answers in the order of the images."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "model": "digits",
                "version": 1,
                "predictions": [{"index": 1, "label": "1", "scores": [0.02, 0.98]}],
            }
        }
    )

    model: str
    version: int
    predictions: list[Prediction]
