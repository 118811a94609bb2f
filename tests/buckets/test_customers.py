"""Customers: /api/v1/customers."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from .make import JSON, MISSING, add_customer, assert_names, instant, make_customer, refused


def test_a_created_customer_carries_what_was_sent(bucket):
    sent = make_customer(key="acme", name="Acme", currency="EUR", description="A customer", metadata={"a": "b"})
    created = add_customer(bucket.openmeter, **sent)
    assert {name: created[name] for name in sent} == sent
    assert len(created["id"]) == 26
    assert instant(created["createdAt"]) <= instant(created["updatedAt"])


def test_only_a_name_is_needed(bucket):
    assert add_customer(bucket.openmeter, usageAttribution=MISSING)["name"]


def test_a_customer_is_found_by_id_and_by_key(bucket):
    created = add_customer(bucket.openmeter, key="acme")
    assert bucket.openmeter.get(f"/customers/{created['id']}").json() == created
    assert bucket.openmeter.get("/customers/acme").json() == created


def test_an_unknown_customer_is_not_found(bucket):
    for name in ("nobody", "01JZZZZZZZZZZZZZZZZZZZZZZZ", "%00", "%ff"):
        refused(bucket.openmeter.get(f"/customers/{name}"), 404)
    refused(bucket.openmeter.put("/customers/nobody", json=make_customer()), 404)
    refused(bucket.openmeter.delete("/customers/nobody"), 404)


def test_customers_are_listed_by_page(bucket):
    created = [add_customer(bucket.openmeter) for _ in range(3)]
    pages = [bucket.openmeter.get("/customers", params={"page": n, "pageSize": 2}).json() for n in (1, 2)]
    assert [(page["totalCount"], page["page"], page["pageSize"]) for page in pages] == [(3, 1, 2), (3, 2, 2)]
    found = [customer["id"] for page in pages for customer in page["items"]]
    assert sorted(found) == sorted(customer["id"] for customer in created)


def test_a_bucket_without_customers_lists_none(bucket):
    listed = bucket.openmeter.get("/customers").json()
    assert (listed["totalCount"], listed["page"], listed["items"]) == (0, 1, [])


def test_customers_are_listed_by_key(bucket):
    wanted = add_customer(bucket.openmeter, key="acme")
    add_customer(bucket.openmeter, key="other")
    assert bucket.openmeter.get("/customers", params={"key": "acme"}).json()["items"] == [wanted]


@pytest.mark.parametrize(("name", "value"), [("page", "0"), ("page", "x"), ("pageSize", "0"), ("pageSize", "1001")])
def test_a_bad_page_is_refused(shared, name, value):
    refused(shared.openmeter.get("/customers", params={name: value}))


def test_an_update_replaces(bucket):
    created = add_customer(bucket.openmeter, key="acme")
    body = {"name": "New", "key": "acme", "usageAttribution": {"subjectKeys": ["a", "b"]}}
    updated = bucket.openmeter.put(f"/customers/{created['id']}", json=body)
    assert updated.status_code == 200
    assert {name: updated.json()[name] for name in body} == body
    assert bucket.openmeter.get("/customers/acme").json() == updated.json()


def test_a_deleted_customer_is_gone_from_the_list_and_by_key(bucket):
    created = add_customer(bucket.openmeter, key="acme")
    deleted = bucket.openmeter.delete(f"/customers/{created['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert bucket.openmeter.get("/customers").json()["totalCount"] == 0
    refused(bucket.openmeter.get("/customers/acme"), 404)


def test_a_deleted_customer_frees_its_key_and_subjects(bucket):
    body = {"key": "acme", "usageAttribution": {"subjectKeys": ["a"]}}
    first = add_customer(bucket.openmeter, **body)
    bucket.openmeter.delete(f"/customers/{first['id']}")
    assert add_customer(bucket.openmeter, **body)["id"] != first["id"]


def test_a_key_belongs_to_one_customer(bucket):
    add_customer(bucket.openmeter, key="acme")
    assert refused(bucket.openmeter.post("/customers", json=make_customer(key="acme")), 409)["detail"].startswith(
        "conflict error: "
    )


def test_a_subject_belongs_to_one_customer(bucket):
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["a", "b"]})
    body = make_customer(usageAttribution={"subjectKeys": ["c", "b"]})
    refused(bucket.openmeter.post("/customers", json=body), 409)
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["c"]})


def test_an_update_cannot_take_a_subject_of_another(bucket):
    add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["a"]})
    other = add_customer(bucket.openmeter, usageAttribution={"subjectKeys": ["b"]})
    body = make_customer(usageAttribution={"subjectKeys": ["a", "b"]})
    refused(bucket.openmeter.put(f"/customers/{other['id']}", json=body), 409)
    assert bucket.openmeter.get(f"/customers/{other['id']}").json()["usageAttribution"] == {"subjectKeys": ["b"]}


def test_a_customer_may_be_sent_back_with_its_own_key_and_subjects(bucket):
    created = add_customer(bucket.openmeter, key="acme")
    assert bucket.openmeter.put(f"/customers/{created['id']}", json=created).status_code == 200


def test_two_buckets_may_have_the_same_customer(make_bucket):
    for _ in range(2):
        add_customer(make_bucket().openmeter, key="acme", usageAttribution={"subjectKeys": ["a"]})


@pytest.mark.parametrize("shared_part", [{"key": "acme"}, {"usageAttribution": {"subjectKeys": ["a"]}}])
def test_of_two_creates_at_once_exactly_one_wins(bucket, shared_part):
    with ThreadPoolExecutor(4) as pool:
        bodies = [make_customer(**shared_part) for _ in range(4)]
        answers = pool.map(lambda body: bucket.openmeter.post("/customers", json=body).status_code, bodies)
        assert sorted(answers) == [201, 409, 409, 409]


BAD_MEMBERS = [
    ("name", MISSING),
    ("name", ""),
    ("name", 5),
    ("name", "\u0000"),
    ("key", 5),
    ("key", ""),
    ("key", "\u0000"),
    ("usageAttribution", []),
    ("usageAttribution", {"subjectKeys": "a"}),
    ("usageAttribution", {"subjectKeys": [5]}),
    ("usageAttribution", {"subjectKeys": ["\u0000"]}),
]


@pytest.mark.parametrize(("field", "value"), BAD_MEMBERS)
def test_a_bad_member_is_refused_by_name(shared, field, value):
    assert_names(refused(shared.openmeter.post("/customers", json=make_customer(**{field: value}))), field)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{"])
def test_a_body_that_is_no_object_is_refused(shared, content):
    refused(shared.openmeter.post("/customers", content=content, headers=JSON))


def test_a_subject_has_one_owner_on_both_mounts(mount):
    first, second = add_customer(mount, key="first"), add_customer(mount, key="second")
    refused(mount.post("/customers", json=make_customer(key="first")), 409)
    taken = make_customer(usageAttribution=first["usageAttribution"])
    refused(mount.put(f"/customers/{second['id']}", json=taken), 409)
    assert mount.get("/customers/second").json()["usageAttribution"] == second["usageAttribution"]


def test_a_deleted_customer_is_listed_when_asked_for_with_the_time_of_its_end(mount):
    made = add_customer(mount)
    mount.delete(f"/customers/{made['id']}")
    assert mount.get("/customers").json()["items"] == []
    [listed] = mount.get("/customers", params={"includeDeleted": "true"}).json()["items"]
    assert listed["id"] == made["id"]
    assert instant(listed["deletedAt"]) >= instant(made["createdAt"])
