"""The surface of the API as plain data, once from the documents and once from the program, and how they differ.

Of each operation: its row, scope and rate, its parameters, and the members of its body with what is said about each.
"""

from collections.abc import Callable, Iterator
from typing import Any

from .documents import Document, Operation

Surface = dict[str, dict[str, Any]]
"""`GET /path` → {"row", "sandbox", "security", "rate", "parameters": {"query page": said}, "body": {"member.inner": said}}."""

_SAID = (
    "enum",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "default",
)
_MAX_DEPTH = 12

_TEXT = {"type": "string"}

Follow = Callable[[str], dict[str, Any]]
Excused = Callable[[str, str, str, dict[str, Any]], bool]


def members_of(schema: dict[str, Any], follow: Follow) -> dict[str, dict[str, Any]]:
    """Path in the value → what the schema says of it. `""` is the value itself, `[]` an item, `*` any other member."""
    said: dict[str, dict[str, Any]] = {}
    _tell(schema, follow, "", said)
    return said


def _tell(schema: dict[str, Any], follow: Follow, path: str, said: dict[str, dict[str, Any]]) -> None:
    if path.count(".") + path.count("[") + path.count("*") > _MAX_DEPTH // 4:
        return
    plain = _plain(schema, follow)
    said[path] = {name: plain[name] for name in ("type", "nullable", *_SAID) if name in plain}
    required = plain.get("required", [])
    for name, inner in plain.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        _tell(inner, follow, at, said)
        if at in said:
            said[at]["required"] = name in required
    if isinstance(plain.get("items"), dict):
        _tell(plain["items"], follow, f"{path}[]", said)
    if isinstance(plain.get("additionalProperties"), dict):
        _tell(plain["additionalProperties"], follow, f"{path}*", said)
    elif plain.get("additionalProperties") is False:
        said[path]["closed"] = True


def _plain(schema: dict[str, Any], follow: Follow) -> dict[str, Any]:
    """One object without references and alternatives: what holds in all of them, members of any, null as `nullable`."""
    if "$ref" in schema:
        schema = follow(schema["$ref"]) | {name: value for name, value in schema.items() if name != "$ref"}
        return _plain(schema, follow)
    plain = {name: value for name, value in schema.items() if name not in ("allOf", "anyOf", "oneOf", "const")}
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    for part in schema.get("allOf", []):
        plain = _both(plain, _plain(part, follow))
    alternatives = [_plain(part, follow) for part in schema.get("anyOf", schema.get("oneOf", []))]
    null = [part for part in alternatives if part.get("type") == "null"]
    others = _without_text_for_numbers([part for part in alternatives if part.get("type") != "null"])
    if others:
        plain = _both(plain, _either(others))
    kinds = plain.get("type")
    if isinstance(kinds, list):
        kept = [kind for kind in kinds if kind != "null"]
        plain["type"] = kept[0] if len(kept) == 1 else sorted(kept)
        null = null or ["null"] * ("null" in kinds)
    if null or any(part.get("nullable") for part in others):
        plain["nullable"] = True
    if plain.get("default", ...) is None:
        del plain["default"]
    if "enum" in plain:
        plain["enum"] = sorted(value for value in plain["enum"] if value is not None)
        plain.setdefault("type", "string")
    return plain


def _without_text_for_numbers(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The framework's schema of a Decimal has a text beside the number, which our own readers refuse."""
    numbers = [part for part in parts if part.get("type") == "number"]
    texts = [part for part in parts if part.get("type") == "string"]
    return numbers if len(numbers) == len(texts) == 1 and len(parts) == 2 else parts


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    joined = other | one
    if "properties" in one and "properties" in other:
        joined["properties"] = other["properties"] | one["properties"]
    if "required" in one and "required" in other:
        joined["required"] = [*one["required"], *other["required"]]
    return joined


def _either(parts: list[dict[str, Any]]) -> dict[str, Any]:
    if len(parts) == 1:
        return parts[0]
    shared = {name: value for name, value in parts[0].items() if all(part.get(name, ...) == value for part in parts)}
    kinds = sorted({kind for part in parts if isinstance(kind := part.get("type"), str)})
    if kinds:
        shared["type"] = kinds[0] if len(kinds) == 1 else kinds
    shared["properties"] = {}
    for part in parts:
        for name, inner in part.get("properties", {}).items():
            before = shared["properties"].get(name)
            shared["properties"][name] = inner if before in (None, inner) else {"anyOf": [before, inner]}
        if isinstance(part.get("items"), dict):
            shared["items"] = part["items"]
    if len(shared["properties"]) == 0:
        del shared["properties"]
    required = [set(part.get("required", [])) for part in parts if part.get("type") == "object"]
    shared["required"] = sorted(set.intersection(*required)) if required else []
    for what, loosest in (("minItems", min), ("maxItems", max), ("minLength", min), ("maxLength", max)):
        limits = [part[what] for part in parts if what in part]
        if len(limits) == len(parts):
            shared[what] = loosest(limits)
    enums = [part["enum"] for part in parts if "enum" in part]
    if len(enums) == len(parts):
        shared["enum"] = sorted({value for enum in enums for value in enum})
    return shared


# --- from the documents ------------------------------------------------------------------------------------------


def documented(documents: list[Document]) -> Surface:
    return {
        f"{operation.method} {operation.path}": _documented(operation)
        for document in documents
        for operation in document.operations()
    }


def _documented(operation: Operation) -> dict[str, Any]:
    document = operation.document
    rate = operation.node.value.get("x-rate-limit")
    parameters = {}
    for (place, name), node in operation.parameters().items():
        schema = node.get("schema")
        # Under a media type it is a text in the request, whatever stands in it.
        text = _TEXT if "content" in node.value else {}
        said = members_of(schema.value, lambda reference: document.at(reference).value) if schema else {"": text}
        parameters[f"{place} {name}"] = said | {"": said[""] | {"required": node.value.get("required", False)}}
    bodies = {}
    for media_type, schema in operation.body_schemas().items():
        bodies[media_type] = members_of(schema.value, lambda reference: document.at(reference).value)
    return {
        "row": operation.row,
        "sandbox": operation.of_sandboxes,
        "security": _security(operation),
        "rate": [rate["requests"], rate["windowSeconds"], rate["burst"]] if rate else None,
        "parameters": parameters,
        "mediaTypes": sorted(bodies),
        "bodyRequired": operation.node.get("requestBody", "required") is not None,
        "bodies": bodies,
    }


def _security(operation: Operation) -> dict[str, list[str]]:
    """Scheme → the scopes that it must have; the empty scheme is none at all, beside others."""
    security = operation.node.value.get("security", operation.document.value.get("security"))
    assert security is not None, f"{operation} says nothing of security"
    ways = {"+".join(way): sorted(scope for scopes in way.values() for scope in scopes) for way in security}
    assert len(ways) == len(security), f"{operation}: a scheme stands there twice"
    return ways


# --- how they differ ---------------------------------------------------------------------------------------------


def differences(here: Surface, there: Surface, excused: Excused) -> Iterator[str]:
    """`here` the documents, `there` the program. `excused(row, member, what)`: where they need not say the same."""
    yield from (f"{name}: the program has no such operation" for name in here.keys() - there.keys())
    yield from (f"{name}: no document tells of this operation" for name in there.keys() - here.keys())
    for name in sorted(here.keys() & there.keys()):
        documented, programmed = here[name], there[name]
        row = documented["row"]
        for what in ("row", "sandbox", "security", "rate", "mediaTypes", "bodyRequired"):
            if documented.get(what) != programmed.get(what):
                yield f"{name}: {what} is documented as {documented.get(what)}, and is {programmed.get(what)}"
        parameters = documented["parameters"], programmed.get("parameters", {})
        yield from (f"{name}: the parameter {one} is not documented" for one in parameters[1].keys() - parameters[0])
        yield from (f"{name}: the parameter {one} is not read" for one in parameters[0].keys() - parameters[1])
        for one in sorted(parameters[0].keys() & parameters[1].keys()):
            at = (row, f"parameter {one}", one.partition(" ")[2])
            for line in _differ(at, parameters[0][one], parameters[1][one], excused):
                yield f"{name}: {line}"
        for media_type, body in documented["bodies"].items():
            read = programmed.get("bodies", {}).get(media_type, {})
            for line in _differ((row, f"body {media_type}", ""), body, read, excused):
                yield f"{name}: {line}"


def _differ(
    at: tuple[str, str, str],
    documented: dict[str, dict[str, Any]],
    programmed: dict[str, dict[str, Any]],
    excused: Excused,
) -> Iterator[str]:
    row, where, name = at
    for path in sorted(programmed.keys() - documented.keys()):
        yield f"{where}: {path} is not documented"
    # Where the program itself tells no type, code reads what is there, and only the documents tell of it.
    opaque = [at for at, known in programmed.items() if "type" not in known]
    for path in sorted(documented.keys() - programmed.keys()):
        inside = any(not at or path.startswith((f"{at}.", f"{at}[", f"{at}*")) for at in opaque)
        if not inside:
            yield f"{where}: {path} is not read"
    for path in sorted(documented.keys() & programmed.keys()):
        said, known = documented[path], programmed[path]
        for what in sorted(said.keys() | known.keys()):
            if said.get(what) == known.get(what) or excused(row, name + path, what, known):
                continue
            if what in known or "type" in known or what == "required":
                yield f"{where}: {path or 'as a whole'}: {what} is documented as {said.get(what)}, is {known.get(what)}"
