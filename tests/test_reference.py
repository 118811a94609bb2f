"""`/`, the references and the documents: readable without anybody else's server, and those of openapi/."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from tests.conftest import TLS
from tests.contract.documents import FOLDER, load_all

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
OTHER_SERVERS = re.compile(r"""(?:src|href|action)=["']?(?:https?:)?//""")


def get(api, path, **headers):
    return httpx.get(f"{api.base_url}{path}", headers=headers, verify=TLS)


def test_the_first_page_leads_to_every_reference_and_document(api):
    page = get(api, "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    links = re.findall(r'href="([^"]+)"', page.text)
    assert {f"reference/{name}" for name in NAMES} | {f"openapi/{name}.json" for name in NAMES} <= set(links)
    for link in links:
        assert get(api, f"/{link}").status_code == 200, link


@pytest.mark.parametrize("path", ["/", *(f"/reference/{name}" for name in NAMES)])
def test_a_page_asks_nobody_else(api, path):
    page = get(api, path)
    assert not OTHER_SERVERS.search(page.text)
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert "http" not in page.headers["content-security-policy"]


def test_the_bundle_of_the_references_comes_from_here_and_loads_no_picture_from_elsewhere(api):
    bundle = get(api, "/reference/redoc.js")
    assert bundle.headers["content-type"].startswith("text/javascript")
    assert len(bundle.content) > 500_000
    assert b"cdn.redoc" not in bundle.content


@pytest.mark.parametrize("document", load_all(), ids=lambda document: document.name)
def test_a_document_is_the_file_with_the_installations_base_url(installation, api, document):
    served = get(api, f"/openapi/{document.name}.json")
    assert served.headers["content-type"] == "application/json"
    base_url = installation.environment["METERHOUSE_BASE_URL"].rstrip("/")
    text = json.dumps(document.value).replace("http://127.0.0.1:8000", base_url)
    assert served.json() == json.loads(text)
    assert [server["url"] for server in served.json()["servers"]] == [base_url]


@pytest.mark.parametrize("path", ["/reference/redoc.js", f"/openapi/{NAMES[0]}.json"])
def test_who_has_it_already_gets_it_not_again(api, path):
    first = get(api, path)
    again = get(api, path, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get(api, path, **{"If-None-Match": '"other"'}).content == first.content


@pytest.mark.parametrize("path", ["/reference/nothing", "/openapi/nothing.json", "/reference", "/openapi/"])
def test_there_are_no_others(api, path):
    assert get(api, path).status_code == 404


def test_the_documents_travel_with_the_wheel(tmp_path):
    project = Path(__file__).parents[1]
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=project, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"meterhouse/openapi/{name}.yaml" for name in NAMES} <= set(names)
    assert "meterhouse/reference/routes.py" in names
