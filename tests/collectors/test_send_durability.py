"""What was answered with an ingestion id is there, once, whatever dies; what is deleted takes nothing more."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests import load

from .conftest import COLLECTORS


@pytest.fixture(scope="module")
def second_url(start_api):
    return start_api().base_url


@pytest.fixture(scope="module")
def other(tenant, second_url):
    return tenant.client(second_url)


def test_every_acknowledged_send_survives_the_death_of_its_process(
    start_api, tenant, client, collector, send_url, inbox
):
    """Senders whose process is killed under them go on with another; nothing that was acknowledged is lost."""
    dying, staying = start_api(), tenant.base_url
    acknowledged: list[str] = []

    def send_all(_):
        with tenant.client(dying.base_url) as first, tenant.client(staying) as second:
            for number in range(60):
                try:
                    answer = first.post(send_url, json={"data": {"n": number}})
                except httpx.TransportError:
                    first, answer = second, second.post(send_url, json={"data": {"n": number}})  # noqa: PLW2901
                acknowledged.append(answer.raise_for_status().json()["ingestionId"])

    with ThreadPoolExecutor(8) as pool:
        sending = pool.map(send_all, range(8))
        while len(acknowledged) < 150:
            time.sleep(0.002)
        dying.process.kill()
        list(sending)
    dying.process.wait()
    stored = [ingestion_id for _, ingestion_id, _ in inbox()]
    assert len(acknowledged) == len(set(acknowledged)) == 480
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    for ingestion_id in random.sample(acknowledged, 10):
        found = client.get(f"{COLLECTORS}/{collector['id']}/ingestions/{ingestion_id}")
        assert found.json()["status"] == "STORED"


def test_a_commit_whose_connection_is_cut_is_tried_again_and_stored_once(client, send_url, inbox, database):
    """Every send is answered 202, so every row must be there once, those whose answer was lost included."""
    stop = threading.Event()

    def cut():
        while not stop.wait(0.05):
            database.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%%INSERT INTO inbox%%'"
                " AND pid <> pg_backend_pid()"
            )

    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: client.post(send_url, json={"data": {"n": n}}), range(300)))
    finally:
        stop.set()
        cutting.join()
    assert {answer.status_code for answer in answers} == {202}
    assert sorted(one for _, one, _ in inbox()) == sorted(answer.json()["ingestionId"] for answer in answers)


def test_a_deleted_collector_is_refused_at_once_by_every_process(client, other, make_collector):
    made = make_collector()
    url = f"{COLLECTORS}/{made['id']}/send"
    assert [one.post(url, json={"data": {}}).status_code for one in (client, other)] == [202, 202]
    client.delete(f"{COLLECTORS}/{made['id']}")
    assert [one.post(url, json={"data": {}}).status_code for one in (client, other)] == [404, 404]


def test_a_delete_under_load_leaves_nothing_behind(client, other, make_collector, database):
    """Every send is either before the delete, and removed by it, or after, and refused."""
    made = make_collector()
    url = f"{COLLECTORS}/{made['id']}/send"
    codes: list[int] = []

    def send(one):
        while 404 not in codes[-8:]:
            codes.append(one.post(url, json={"data": {}}).status_code)

    with ThreadPoolExecutor(8) as pool:
        sending = [pool.submit(send, one) for one in (client, other) * 4]
        while len(codes) < 100:
            time.sleep(0.005)
        assert client.delete(f"{COLLECTORS}/{made['id']}").json() == {"deletedCount": 1}
        for one in sending:
            one.result()
    assert set(codes) == {202, 404}
    assert database.execute("SELECT count(*) FROM inbox WHERE collector_id = %s", (made["id"],)).fetchone() == (0,)


def test_a_consumer_that_remembers_its_position_misses_nothing(client, other, send_url, collector, database):
    """Two processes write at once; a reader that only ever looks behind the last number it saw gets every row."""
    consumed: list[int] = []
    done = threading.Event()

    def consume():
        position = 0
        query = "SELECT seq FROM inbox WHERE collector_id = %s AND seq > %s ORDER BY seq LIMIT 7"
        while True:
            finished = done.is_set()
            rows = database.execute(query, (collector["id"], position)).fetchall()
            consumed.extend(seq for (seq,) in rows)
            position = consumed[-1] if consumed else 0
            if finished and not rows:
                return

    consuming = threading.Thread(target=consume)
    consuming.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: (client, other)[n % 2].post(send_url, json={"data": {}}), range(400)))
    finally:
        done.set()
        consuming.join()
    assert len(consumed) == len(set(consumed)) == 400


def test_a_thousand_a_second_are_kept_by_a_client_with_limits_and_tokens(start_api, tenant, send_url, inbox):
    limited = start_api(METERHOUSE_RATE_LIMITS="{}")
    headers = {"Authorization": f"Bearer {tenant.token}"}
    address = ("127.0.0.1", int(limited.base_url.rpartition(":")[2]))
    request = load.http_request("POST", send_url, headers, b'{"data":{"userId":"a","value":1.50}}')
    report = load.measure(address, lambda _: request, rate=1_000, seconds=2)
    # Of a rate right at the limit a few may be refused: the burst is one second's worth.
    assert set(report.statuses()) <= {202, 429}, report
    assert report.statuses()[202] > 1_990, report
    assert len(inbox()) == report.statuses()[202]
