"""Which mount a test speaks to, and one bucket for a table of requests that store nothing."""

import pytest


@pytest.fixture
def bucket(make_bucket):
    """A fresh bucket whose connections end with the test, so that thousands of tests do not run out of files."""
    made = make_bucket()
    yield made
    for client in (made.root, made.seed, made.openmeter):
        client.close()


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
