"""/usage-metering/v1/webhooks: created, replaced, changed, rotated, deleted."""

import base64
import re
import uuid

import pytest

from tests.usage_engine import MISSING, assert_names, at_once, created, ok, refused
from tests.webhooks.house import add_webhook

SECRET = "whsec_" + base64.b64encode(b"a secret of at least 24 bytes").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 24 bytes..").decode()


def make_webhook(**changes):
    body = {"url": f"https://receiver.example/{uuid.uuid4()}"} | changes
    return {name: value for name, value in body.items() if value is not MISSING}


def test_a_webhook_that_says_only_its_url_gets_everything_and_a_secret(account):
    body = make_webhook()
    made = created(account.post("/webhooks", body))
    assert list(made) == ["id", "url", "types", "status", "createdAt", "updatedAt", "secret"]
    assert (made["url"], made["types"], made["status"]) == (body["url"], ["reset", "threshold"], "ACTIVE")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", made["createdAt"])
    assert 24 <= len(base64.b64decode(made["secret"].removeprefix("whsec_"), validate=True)) <= 64


def test_the_secret_is_shown_once_and_stored_encrypted(account, house):
    made = created(account.post("/webhooks", make_webhook(description="d", meterKeys=["a", "b"], secret=SECRET)))
    assert made.pop("secret") == SECRET
    assert ok(account.get(f"/webhooks/{made['id']}")) == made
    assert ok(account.get("/webhooks"))["webhooks"] == [made]
    assert (made["description"], made["meterKeys"]) == ("d", ["a", "b"])
    with house.database() as database:
        [stored] = database.execute("SELECT encrypted_secret FROM webhooks WHERE id = %s", [made["id"]]).fetchone()
    assert SECRET.encode() not in stored
    assert b"a secret of at least 24 bytes" not in stored


def test_a_url_is_the_accounts_once(account, house):
    body = make_webhook()
    created(account.post("/webhooks", body))
    refused(account.post("/webhooks", body), 409)
    other = created(account.post("/webhooks", make_webhook()))
    refused(account.patch(f"/webhooks/{other['id']}", {"url": body["url"]}), 409)
    assert ok(account.get(f"/webhooks/{other['id']}"))["url"] == other["url"]
    with house.account() as stranger:
        created(stranger.post("/webhooks", body))


def test_an_account_has_at_most_ten_whoever_asks_at_once(account):
    answers = at_once([lambda: account.post("/webhooks", make_webhook())] * 20)
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 10
    refused(account.client.put("/webhooks", json=make_webhook()), 409)
    listed = ok(account.get("/webhooks"))["webhooks"]
    assert len(listed) == 10
    assert ok(account.get("/webhooks", limit=3, skip=8))["webhooks"] == listed[8:]
    assert_names(refused(account.get("/webhooks", limit=101)), "limit")


def test_put_creates_or_replaces_what_has_the_url(account):
    body = make_webhook(description="first", types=["threshold"], meterKeys=["k"], status="DISABLED")
    made = created(account.client.put("/webhooks", json=body))
    assert made.pop("secret")
    assert ok(account.client.put("/webhooks", json=body)) == made | {
        "updatedAt": ok(account.get(f"/webhooks/{made['id']}"))["updatedAt"]
    }
    plain = ok(account.client.put("/webhooks", json={"url": body["url"]}))
    assert plain.pop("updatedAt") >= made["updatedAt"]
    assert plain == {name: made[name] for name in ("id", "url", "createdAt")} | {
        "types": ["reset", "threshold"],
        "status": "ACTIVE",
    }
    assert len(ok(account.get("/webhooks"))["webhooks"]) == 1


def test_put_with_another_secret_rotates_and_with_the_same_does_not(account, house):
    body = make_webhook(secret=SECRET)
    made = created(account.client.put("/webhooks", json=body))

    def previous():
        query = "SELECT previous_secret_expires_at FROM webhooks WHERE id = %s"
        with house.database() as database:
            return database.execute(query, [made["id"]]).fetchone()[0]

    assert "secret" not in ok(account.client.put("/webhooks", json=body))
    assert previous() is None
    assert ok(account.client.put("/webhooks", json=body | {"secret": OTHER_SECRET}))["secret"] == OTHER_SECRET
    assert previous() is not None


def test_put_at_once_makes_one(account):
    body = make_webhook()
    answers = at_once([lambda: account.client.put("/webhooks", json=body)] * 8)
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]


def test_a_patch_changes_what_it_names_and_null_takes_away(account):
    made = created(account.post("/webhooks", make_webhook(description="d", meterKeys=["k"], types=["reset"])))
    del made["secret"]
    changed = ok(account.patch(f"/webhooks/{made['id']}", {"status": "DISABLED"}))
    assert changed == made | {"status": "DISABLED", "updatedAt": changed["updatedAt"]}
    changed = ok(account.patch(f"/webhooks/{made['id']}", {"meterKeys": None, "description": None}))
    assert not {"meterKeys", "description"} & set(changed)
    assert (changed["types"], changed["status"]) == (["reset"], "DISABLED")
    refused(account.patch(f"/webhooks/{made['id']}", {}))


def test_delete_tells_how_many_and_then_there_is_nothing(account):
    made = created(account.post("/webhooks", make_webhook()))
    assert ok(account.delete(f"/webhooks/{made['id']}")) == {"deletedCount": 1}
    refused(account.delete(f"/webhooks/{made['id']}"), 404)
    refused(account.get(f"/webhooks/{made['id']}"), 404)


def test_rotation_shows_the_new_secret_and_how_long_the_old_one_signs(account):
    made = created(account.post("/webhooks", make_webhook(description="d", meterKeys=["k"])))
    rotated = ok(account.client.post(f"/webhooks/{made['id']}/rotate-secret"))
    assert rotated["secret"] != made["secret"]
    assert (rotated["description"], rotated["meterKeys"]) == ("d", ["k"])
    assert rotated["previousSecretExpiresAt"] > rotated["updatedAt"] > made["updatedAt"]
    own = ok(account.post(f"/webhooks/{made['id']}/rotate-secret", {"secret": SECRET}))
    assert own["secret"] == SECRET
    assert not {"secret", "previousSecretExpiresAt"} & set(ok(account.get(f"/webhooks/{made['id']}")))


def test_nothing_of_it_exists_for_another_account(account, house):
    made = created(account.post("/webhooks", make_webhook()))
    one = f"/webhooks/{made['id']}"
    with house.account() as stranger:
        for answer in (
            stranger.get(one),
            stranger.patch(one, {"status": "DISABLED"}),
            stranger.delete(one),
            stranger.post(f"{one}/rotate-secret", {}),
            stranger.get(f"{one}/deliveries"),
            stranger.post(f"{one}/deliveries/retry", {}),
        ):
            refused(answer, 404)
        assert ok(stranger.get("/webhooks"))["webhooks"] == []
    assert ok(account.get(one))["status"] == "ACTIVE"


def test_scopes_are_asked_for_and_replacing_needs_the_one_to_update(account, house):
    with house.account("--scopes", "create:webhooks read:webhooks") as limited:
        body = make_webhook()
        created(limited.client.put("/webhooks", json=body))
        refused(limited.client.put("/webhooks", json=body), 401)
        refused(limited.delete(f"/webhooks/{uuid.uuid4()}"), 401)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"url": MISSING}, "url"),
        ({"url": ""}, "url"),
        ({"url": 7}, "url"),
        ({"url": None}, "url"),
        ({"url": "ftp://receiver.example/"}, "url"),
        ({"url": "receiver.example"}, "url"),
        ({"url": "https://user:password@receiver.example/"}, "url"),
        ({"url": "https://receiver.example:99999/"}, "url"),
        ({"url": "https://receiver.example/a b"}, "url"),
        ({"url": "https://receiver.example/" + "a" * 2048}, "url"),
        ({"url": "https://receiver.example/\x00"}, "url"),
        ({"url": "http://127.0.0.1/"}, "url"),
        ({"url": "http://localhost:8000/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://[::1]/"}, "url"),
        ({"url": "http://2130706433/"}, "url"),
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"description": "d" * 201}, "description"),
        ({"description": "\x07"}, "description"),
        ({"types": []}, "types"),
        ({"types": ["reset", "reset"]}, "types"),
        ({"types": ["other"]}, "types"),
        ({"types": None}, "types"),
        ({"types": "reset"}, "types"),
        ({"meterKeys": []}, "meterKeys"),
        ({"meterKeys": ["k" * 37]}, "meterKeys"),
        ({"meterKeys": ["k", "k"]}, "meterKeys"),
        ({"meterKeys": [str(number) for number in range(101)]}, "meterKeys"),
        ({"meterKeys": [1]}, "meterKeys"),
        ({"status": "active"}, "status"),
        ({"status": None}, "status"),
        ({"secret": "whsec_"}, "secret"),
        ({"secret": "short"}, "secret"),
        ({"secret": "whsec_" + base64.b64encode(b"x" * 23).decode()}, "secret"),
        ({"secret": "whsec_" + base64.b64encode(b"x" * 65).decode()}, "secret"),
        ({"secret": "whsec_" + "!" * 40}, "secret"),
        ({"secret": None}, "secret"),
        ({"id": str(uuid.uuid4())}, "id"),
    ],
)
def test_bad_input_names_its_field(account, changes, field):
    body = make_webhook(**changes)
    assert_names(refused(account.post("/webhooks", body)), field)
    assert_names(refused(account.client.put("/webhooks", json=body)), field)
    if MISSING not in changes.values():
        made = created(account.post("/webhooks", make_webhook()))
        assert_names(refused(account.patch(f"/webhooks/{made['id']}", changes)), field)
        del made["secret"]
        assert ok(account.get(f"/webhooks/{made['id']}")) == made
        assert ok(account.get("/webhooks"))["webhooks"] == [made]


def test_a_refused_secret_is_not_repeated(account):
    answer = account.post("/webhooks", make_webhook(secret="whsec_almost-a-secret"))
    refused(answer)
    assert "almost" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "deliveries/retry", {"ids": []}, "ids"),
        ("POST", "deliveries/retry", {"ids": ["m"] * 1001}, "ids"),
        ("POST", "deliveries/retry", {"ids": None}, "ids"),
        ("POST", "deliveries/retry", {"all": True}, "all"),
        ("POST", "rotate-secret", {"secret": "x"}, "secret"),
        ("GET", "deliveries?status=delivered", None, "status"),
        ("GET", "deliveries?limit=101", None, "limit"),
    ],
)
def test_bad_input_of_the_other_operations_names_its_field(account, method, path, body, field):
    made = created(account.post("/webhooks", make_webhook()))
    assert_names(refused(account.client.request(method, f"/webhooks/{made['id']}/{path}", json=body)), field)


def test_a_private_address_is_taken_when_the_operator_maps_it(account):
    created(account.post("/webhooks", make_webhook(url="http://192.168.7.7/hook")))


def test_ids_that_are_no_uuid_are_bad_input(account):
    assert_names(refused(account.get("/webhooks/x")), "id")
    assert_names(refused(account.delete("/webhooks/x")), "id")


def test_the_old_prefix_leads_here_too(account, house):
    hook = house.receiver.hook()
    made = add_webhook(account, hook)
    url = f"{house.api.base_url}/api/usage-metering/v1/webhooks/{made['id']}"
    assert ok(account.get(url))["url"] == hook.url
