"""Prints the report's JSON schema, generated from its types: `make schema` writes docs/report.schema.json."""

from __future__ import annotations

import inspect
import json
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import get_original_bases

from likeness.pipeline.options import attribute_texts
from likeness.pipeline.report_types import FrameRecord, Report


class _Described(GenerateJsonSchema):
    """Takes descriptions from the `Attributes:` of docstrings, and allows no further keys."""

    def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
        return _describe(super().typed_dict_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        described = _describe(super().dataclass_schema(schema), schema["cls"])
        return described | {"required": list(described["properties"])}

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _describe(schema: dict[str, Any], kind: type) -> dict[str, Any]:
    bases = [base for base in get_original_bases(kind) if isinstance(base, type)]  # TypedDicts hide theirs
    texts = {name: text for one in (*bases, kind) for name, text in attribute_texts(one).items()}
    for name, node in schema["properties"].items():
        node.pop("default", None)  # a report states every option
        if name in texts:
            node["description"] = texts[name]
    summary = (inspect.getdoc(kind) or "").partition("\n")[0]
    return schema | {"description": summary, "additionalProperties": False}


def report_schema() -> dict[str, Any]:
    """The schema of the report; `$defs/FrameRecord` is that of a line of the frames log."""
    kinds: list[Any] = [Report, FrameRecord]
    _, schema = TypeAdapter.json_schemas(
        [(kind.__name__, "serialization", TypeAdapter(kind)) for kind in kinds], schema_generator=_Described
    )
    return {
        "$schema": GenerateJsonSchema.schema_dialect,
        "$id": "https://likeness.invalid/report-1.schema.json",
        "title": "Likeness report, version 1",
        "$ref": "#/$defs/Report",
        "$defs": schema["$defs"],
    }


def main() -> int:
    """The command; returns its exit code."""
    print(json.dumps(report_schema(), indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
