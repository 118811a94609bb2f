"""Which streams can be started."""

import uuid

from tests.streams.test_runs import STREAMS, imported, metering  # noqa: F401 - a fixture
from tests.tenants import refused


def test_a_real_time_stream_is_not_started_but_deployed(client, imported):  # noqa: F811
    stream_id = imported(metering(str(uuid.uuid4())))["id"]
    assert "deployed" in refused(client.post(f"{STREAMS}/{stream_id}/start"), 409)["message"]
    assert client.get(f"{STREAMS}/{stream_id}/runs").json() == {"runs": []}
    assert client.post(f"{STREAMS}/{stream_id}/deploy").status_code == 200
    client.post(f"{STREAMS}/{stream_id}/undeploy")
