"""What all sections of the files of settings have in common."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A mapping of a file of settings; unknown fields are refused.

    ``EXPECTED`` of the section that is a whole file says what is expected in required fields, by their path.
    """

    EXPECTED: ClassVar[dict[str, str]] = {}

    model_config = ConfigDict(extra="forbid", frozen=True)
