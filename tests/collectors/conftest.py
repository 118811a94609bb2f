"""Two accounts for all tests of collectors, and a collector for each test that needs one."""

import psycopg
import pytest

from tests.tenants import make_tenant

COLLECTORS = "/online-collection/v1/collectors"


@pytest.fixture(scope="session")
def tenant(installation, api):
    made = make_tenant(installation, api.base_url)
    yield made
    for client in made.opened:
        client.close()


@pytest.fixture(scope="session")
def client(tenant):
    return tenant.client()


@pytest.fixture(scope="session")
def stranger(installation, api):
    """A client of another account."""
    made = make_tenant(installation, api.base_url)
    with made.client() as client:
        yield client


@pytest.fixture
def make_collector(client):
    """Creates collectors that are gone after the test, so that the next one finds room."""
    made = []

    def make(name="Usage"):
        answer = client.post(COLLECTORS, json={"name": name})
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["id"])
        return answer.json()

    yield make
    for collector_id in made:
        client.delete(f"{COLLECTORS}/{collector_id}")


@pytest.fixture
def collector(make_collector):
    return make_collector()


@pytest.fixture
def send_url(collector):
    return f"{COLLECTORS}/{collector['id']}/send"


@pytest.fixture(scope="session")
def database(installation):
    """Looks behind the API: what consumers of the inbox will find there."""
    url = installation.environment["METERHOUSE_DATABASE_URL"].replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def inbox(database, collector):
    """The rows of the test's collector, in the order in which they will be consumed: (seq, ingestion id, data)."""

    def read():
        query = "SELECT seq, ingestion_id::text, data FROM inbox WHERE collector_id = %s ORDER BY seq"
        return database.execute(query, (collector["id"],)).fetchall()

    return read
