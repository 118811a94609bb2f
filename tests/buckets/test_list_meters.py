"""GET /meters."""

from urllib.parse import urlsplit

import pytest

from .make import add_meter, refused

SLUGS = ["a", "b", "c", "d", "e"]


@pytest.fixture
def five(mount):
    """Meters a…e, created in another order, with names against the alphabet."""
    for slug in ("c", "a", "e", "b", "d"):
        add_meter(
            mount, slug=slug, name=f"Name {chr(ord('z') - ord(slug))}", aggregation="MAX" if slug > "b" else "SUM"
        )
    return mount


def slugs(response):
    assert response.status_code == 200, response.text
    return [meter["slug"] for meter in response.json()]


def page_of(link):
    """Path and query of a link, whichever host it names."""
    parts = urlsplit(link["url"])
    return f"{parts.path}?{parts.query}"


def test_a_new_bucket_has_no_meters(mount):
    response = mount.get("/meters")
    assert response.json() == []
    assert response.headers["X-Total-Count"] == "0"


def test_the_list_is_a_bare_array_by_slug(five):
    assert slugs(five.get("/meters")) == SLUGS


def test_a_listed_meter_is_the_meter(mount):
    created = add_meter(mount)
    assert mount.get("/meters").json() == [created]


@pytest.mark.parametrize(("page", "expected"), [(1, ["a", "b"]), (2, ["c", "d"]), (3, ["e"]), (4, []), (1_000_000, [])])
def test_a_page_is_a_part_of_the_list(five, page, expected):
    response = five.get("/meters", params={"page": page, "pageSize": 2})
    assert slugs(response) == expected
    assert response.headers["X-Total-Count"] == "5"


def test_the_links_lead_through_all_pages(five, bucket):
    response = five.get("/meters", params={"pageSize": 2, "order": "DESC"})
    seen = slugs(response)
    while "next" in response.links:
        response = bucket.root.get(page_of(response.links["next"]))
        seen += slugs(response)
    assert seen == SLUGS[::-1]


def test_a_middle_page_links_both_ways(five, bucket):
    links = five.get("/meters", params={"page": 2, "pageSize": 2}).links
    assert slugs(bucket.root.get(page_of(links["next"]))) == ["e"]
    assert slugs(bucket.root.get(page_of(links["prev"]))) == ["a", "b"]


ORDERS = [
    ("key", SLUGS),
    ("name", SLUGS[::-1]),
    ("createdAt", ["c", "a", "e", "b", "d"]),
    ("updatedAt", ["c", "a", "e", "b", "d"]),
]


@pytest.mark.parametrize(("order_by", "expected"), ORDERS)
def test_the_list_is_ordered_as_asked(five, order_by, expected):
    assert slugs(five.get("/meters", params={"orderBy": order_by})) == expected
    assert slugs(five.get("/meters", params={"orderBy": order_by, "order": "ASC"})) == expected
    assert slugs(five.get("/meters", params={"orderBy": order_by, "order": "DESC"})) == expected[::-1]


def test_meters_ordered_by_aggregation_keep_every_meter_over_pages(five):
    pages = [
        slugs(five.get("/meters", params={"orderBy": "aggregation", "page": n, "pageSize": 1})) for n in range(1, 6)
    ]
    found = [slug for page in pages for slug in page]
    assert set(found[:3]) == {"c", "d", "e"}
    assert sorted(found) == SLUGS


BAD_PARAMS = [
    ("page", "0"),
    ("page", "-1"),
    ("page", "x"),
    ("page", "1.5"),
    ("page", ""),
    ("page", "9" * 40),
    ("pageSize", "0"),
    ("pageSize", "1001"),
    ("pageSize", "-5"),
    ("pageSize", "many"),
    ("order", "UP"),
    ("orderBy", "colour"),
    ("orderBy", "id; drop table meters"),
    ("includeDeleted", "maybe"),
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMS)
def test_a_bad_parameter_is_refused(shared_mount, name, value):
    refused(shared_mount.get("/meters", params={name: value}))


def test_the_largest_page_is_taken(shared_mount):
    assert shared_mount.get("/meters", params={"pageSize": 1000}).status_code == 200


def test_deleted_meters_are_listed_only_on_request(mount):
    add_meter(mount, slug="kept")
    add_meter(mount, slug="gone")
    mount.delete("/meters/gone")
    assert slugs(mount.get("/meters")) == ["kept"]
    assert slugs(mount.get("/meters", params={"includeDeleted": "false"})) == ["kept"]
    everything = mount.get("/meters", params={"includeDeleted": "true"})
    assert slugs(everything) == ["gone", "kept"]
    assert everything.headers["X-Total-Count"] == "2"
