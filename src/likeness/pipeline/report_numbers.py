"""Numbers of the report with their limits, for its schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Bounds:
    """Limits of a number, for the schema.

    Attributes:
        minimum, maximum: inclusive; None = none.
    """

    minimum: float = 0
    maximum: float | None = None

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        limits = {"minimum": self.minimum} | ({} if self.maximum is None else {"maximum": self.maximum})
        return {**handler(core_schema), **limits}


Count = Annotated[int, Bounds()]
Amount = Annotated[float, Bounds()]
Fraction = Annotated[float, Bounds(0, 1)]
