"""Whatever stands in a member or a parameter, the answer is a result or a problem that names a fault of the caller."""

import json

import pytest

from .make import JSON, make_customer, make_event, make_meter

pytestmark = pytest.mark.odd_requests("odd values are what it is about")


ODD_VALUES = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**70,
    10**400,
    1e300,
    "",
    " ",
    "x",
    "\u0000",
    "\ud800",
    "\\",
    "'",
    "%",
    "$",
    "null",
    "NaN",
    "2025-01-15T10:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "🧮",
    "x" * 70_000,
    [],
    [None],
    [[]],
    [{}],
    ["\u0000"],
    ["\ud800"],
    ["x"] * 2_000,
    {},
    {"": None},
    {"": ""},
    {"x": None},
    {"x": "\u0000"},
    {"\u0000": "x"},
    {"\ud800": "\ud800"},
    {"model": {"$eq": None}},
    {"model": {"$in": [None]}},
    {"model": {"$and": [None]}},
    {"model": [None]},
    {"subjectKeys": None},
    {"subjectKeys": [None]},
    {"subjectKeys": [""]},
    {"subjectKeys": ["a", "a"]},
]

METER = make_meter(
    name="n", description="d", metadata={}, groupBy={"model": "$.model"}, eventFrom="2025-01-01T00:00:00Z"
)
CUSTOMER = make_customer(key="k", description="d", metadata={}, currency="EUR", primaryEmail="a@b.c")
QUERY = dict.fromkeys(
    [
        "clientId",
        "from",
        "to",
        "windowSize",
        "windowTimeZone",
        "subject",
        "filterCustomerId",
        "filterSubscription",
        "filterGroupBy",
        "advancedMeterGroupByFilters",
        "groupBy",
    ]
)
TOKEN = {"subject": "alice", "expiresAt": "2999-01-01T00:00:00Z", "allowedMeterSlugs": ["odd"]}
EVENT = make_event(datacontenttype="application/json", dataschema="x", subscription="sub-1", partition=1)

BODIES = [
    ("POST", "/meters", METER),
    ("PUT", "/meters/odd", {name: METER[name] for name in ("name", "description", "metadata", "groupBy")}),
    ("POST", "/meters/odd/query", QUERY),
    ("POST", "/events", EVENT),
    ("POST", "/customers", CUSTOMER),
    ("PUT", "/customers/odd", CUSTOMER),
    ("POST", "/portal/tokens", TOKEN),
]
MEMBERS = [(method, path, body, member) for method, path, body in BODIES for member in [*body, "unknown"]]


@pytest.fixture(scope="module")
def odd(shared):
    shared.openmeter.post("/meters", json=METER | {"slug": "odd"})
    shared.openmeter.post("/customers", json={"name": "Odd", "key": "odd"})
    return shared


def assert_answered(response, value):
    assert response.status_code < 500, f"{value!r:.100} {response.text[:300]}"
    assert response.status_code != 422, f"{value!r:.100}"
    expected = "application/problem+json" if response.is_client_error else "application/json"
    assert response.headers.get("content-type", expected).startswith(expected)


@pytest.mark.parametrize(("method", "path", "body", "member"), MEMBERS)
def test_an_odd_member_never_breaks(odd, method, path, body, member):
    body = {} if body is QUERY else body
    for value in ODD_VALUES:
        content = json.dumps(body | {member: value})
        assert_answered(odd.openmeter.request(method, path, content=content, headers=JSON), value)


PATHS = {
    "/meters": ["page", "pageSize", "order", "orderBy", "includeDeleted"],
    "/meters/odd/query": [
        *QUERY,
        "filterGroupBy[model]",
        "filterGroupBy[",
        "filterGroupBy[]",
        "filterGroupBy[model][0]",
    ],
    "/meters/odd/subjects": ["from", "to"],
    "/meters/odd/group-by/model/values": ["from", "to"],
    "/events": ["clientId", "ingestedAtFrom", "ingestedAtTo", "id", "subject", "customerId", "from", "to", "limit"],
    "/../v2/events": ["cursor", "limit", "clientId", "filter"],
    "/customers": ["page", "pageSize", "order", "orderBy", "includeDeleted", "key", "name", "primaryEmail", "subject"],
    "/../../v1/metering": ["limit", "offset"],
}
PARAMS = [(path, name) for path, names in PATHS.items() for name in names]
ODD_TEXTS = [value for value in ODD_VALUES if isinstance(value, str) and value != "\ud800" and len(value) < 10_000]


@pytest.mark.parametrize(("path", "name"), PARAMS)
def test_an_odd_parameter_never_breaks(odd, path, name):
    url = odd.root.base_url.join(f"/api/v1{path}")
    for value in [
        *ODD_TEXTS,
        "0",
        "-1",
        "9" * 30,
        "1.5",
        "true",
        "[]",
        "{}",
        '{"subject": null}',
        '{"time": {"$gt": ""}}',
        "x" * 2_000,
    ]:
        assert_answered(odd.root.get(url, params={name: value}), value)
    assert_answered(odd.root.get(url, params={name: ["1", "x"]}), "two values")
    assert_answered(odd.root.get(f"{url}?{name}=%ff%fe"), "no text")


@pytest.mark.parametrize(
    "path",
    [
        "/meters/{}",
        "/meters/{}/query",
        "/meters/{}/subjects",
        "/meters/odd/group-by/{}/values",
        "/customers/{}",
        "/portal/meters/{}/query",
        "/{}",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
def test_an_odd_path_never_breaks(odd, method, path):
    for text in ("%00", "%ff", "%ED%A0%80", "%5C", "'", "%25", "%0A", "..%2F..", "x" * 3_000, "🧮", "odd%20", "*"):
        assert_answered(odd.openmeter.request(method, path.format(text), json={}), text)
