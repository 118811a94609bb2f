"""Which mount a test speaks to, and one bucket for a table of requests that store nothing."""

import pytest


@pytest.fixture(params=["seed", "openmeter"])
def mount(request, bucket):
    """The same test on both mounts of a fresh bucket."""
    return bucket.mount(request.param)


@pytest.fixture(scope="module")
def shared(make_bucket):
    """One bucket for all cases of a table, where cases are refused or do not meet."""
    return make_bucket()


@pytest.fixture(params=["seed", "openmeter"])
def shared_mount(request, shared):
    return shared.mount(request.param)
