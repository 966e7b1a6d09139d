"""What a session's buyer gets."""

from pydantic import BaseModel, ConfigDict, Field


class SessionRead(BaseModel):
    """Of one form for licensees and strangers alike; only a licensee's receipt opens."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "token": "kq3Zb0Yw...",
                "expires_at": "2027-01-31T13:00:00Z",
                "model": "digits",
                "receipt": "Jx1m...",
            }
        }
    )

    token: str = Field(description="send it as `Authorization: Bearer`")
    expires_at: str = Field(description="RFC 3339, UTC")
    model: str
    receipt: str = Field(description="base64url; opens with the license's receipt key, if the session is proved")
