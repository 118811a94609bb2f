import pytest

from tests.webhooks.house import open_house


@pytest.fixture(scope="session")
def house(installation, tmp_path_factory):
    with open_house(installation, tmp_path_factory.mktemp("sandbox")) as house:
        yield house


@pytest.fixture
def account(house):
    """A fresh one for each test: its webhooks get its own meters' records and no others.

    Nothing is left behind for workers: the clock is everybody's, and periods would have to be closed for all it moves.
    """
    with house.account() as account:
        house.move_to_full_hour(account)
        yield account
    with house.database() as database:
        database.execute("DELETE FROM meters; DELETE FROM deliveries; DELETE FROM webhooks")


@pytest.fixture(scope="module")
def worker(house):
    yield house.start_worker()
    house.stop_workers()
