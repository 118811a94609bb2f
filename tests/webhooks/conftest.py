import pytest

from tests.webhooks.house import open_house


@pytest.fixture(scope="module")
def house(installation, tmp_path_factory):
    with open_house(installation, tmp_path_factory.mktemp("sandbox")) as house:
        yield house


@pytest.fixture
def account(house):
    """A fresh one for each test: its webhooks get its own meters' records and no others.

    No meter is left behind: the clock is everybody's, and its periods would have to be closed for every hour of it.
    """
    with house.account() as account:
        house.move_to_full_hour(account)
        yield account
    with house.database() as database:
        database.execute("DELETE FROM meters")


@pytest.fixture(scope="module")
def worker(house):
    return house.start_worker()
