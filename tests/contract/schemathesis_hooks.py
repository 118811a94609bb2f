"""What Schemathesis cannot know by itself: credentials, and values of our own formats. Loaded by its SCHEMATHESIS_HOOKS."""

import os

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("iana-time-zone", st.sampled_from(["UTC", "Europe/Stockholm", "America/Sao_Paulo"]))
schemathesis.openapi.format("public-url", st.uuids().map(lambda name: f"https://{name}.example/"))


@schemathesis.auth()
class Credentials:
    """An access token with all scopes, or the portal token where the operation takes nothing else."""

    def get(self, case, context):
        schemes = {scheme for way in case.operation.definition.raw.get("security", [{"": []}]) for scheme in way}
        return os.environ["CONTRACT_PORTAL_TOKEN" if schemes == {"portalToken"} else "CONTRACT_TOKEN"]

    def set(self, case, data, context):
        case.headers["Authorization"] = f"Bearer {data}"
