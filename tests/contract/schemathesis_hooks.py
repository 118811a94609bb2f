"""What Schemathesis cannot know by itself: credentials, and values of our own formats. Loaded by its SCHEMATHESIS_HOOKS."""

import os
import re
import uuid

import schemathesis

from meterhouse.rules.windows import zone_names

ZONES = sorted(zone_names())
URL = re.compile(r"https?://[^\s/?#:@\x00-\x1f\x7f\x85]+([/?#][^\s\x00-\x1f\x7f\x85]{,1000})?", re.IGNORECASE)


# Not registered as formats: of a body with such a member Schemathesis then believes that any format in it is violated.
@schemathesis.hook
def before_load_schema(context, raw_schema):
    """Time zones that there are."""
    for schema in raw_schema["components"]["schemas"].values():
        if schema.get("format") == "iana-time-zone":
            schema["enum"] = ZONES


@schemathesis.hook
def map_body(context, body):
    """Good URLs get a public host, a new one each time: an account has each but once."""
    if isinstance(body, dict) and isinstance(body.get("url"), str) and (url := URL.fullmatch(body["url"])):
        return body | {"url": f"https://{uuid.uuid4()}.example{url[1] or ''}"}
    return body


@schemathesis.auth()
class Credentials:
    """An access token with all scopes, or the portal token where the operation takes nothing else."""

    def get(self, case, context):
        schemes = {scheme for way in case.operation.definition.raw.get("security", [{"": []}]) for scheme in way}
        return os.environ["CONTRACT_PORTAL_TOKEN" if schemes == {"portalToken"} else "CONTRACT_TOKEN"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"
