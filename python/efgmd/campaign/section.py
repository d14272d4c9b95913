"""What all sections of the campaign file have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of the campaign file; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)
