"""What a fuzzer cannot read from the description: which categories there are, which cursors were handed out.

Only requests that are meant to be good are completed here; what is meant to be refused is sent as it was made.
"""

import json
import os
import urllib.request
import uuid

import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode

ADDRESS = os.environ["CONTRACT_ADDRESS"]
# Of another account than the token of the run: signing out ends the token that was used.
CREDENTIALS = {"email": os.environ["CONTRACT_EMAIL"], "password": os.environ["CONTRACT_PASSWORD"]}


def ids(path):
    with urllib.request.urlopen(f"{ADDRESS}{path}?per_page=50") as answer:
        return [row["id"] for row in json.load(answer)["data"]]


CATEGORIES = ids("/api/v1/categories")
TAGS = ids("/api/v1/tags")

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
WORD = st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=30)

schemathesis.openapi.format("html", st.builds("<p>{}</p> and {}".format, WORD, st.text(LETTERS, max_size=50)))
schemathesis.openapi.format("line", st.builds("{}{}".format, WORD, st.text(LETTERS, max_size=50)))
schemathesis.openapi.format("slug", st.builds("{}-{}".format, WORD, WORD))
schemathesis.openapi.format("web-address", st.builds("https://img.example.com/{}.jpg".format, WORD))
schemathesis.openapi.format("idempotency-key", st.uuids().map(str))
schemathesis.openapi.format("entity-tags", st.builds('"{}"'.format, WORD))
schemathesis.openapi.format("known-entity-tags", st.just("*"))
schemathesis.openapi.format("cursor", WORD)
schemathesis.openapi.format("public-address", st.builds("https://{}.example.com/hook".format, WORD))

# Cursors that were handed out, with the parameters of the list they are of: path to [(cursor, query)].
CURSORS = {}


def is_positive(case):
    return case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE


def login():
    body = json.dumps(CREDENTIALS).encode()
    request = urllib.request.Request(
        f"{ADDRESS}/api/v1/auth/login", data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["meta"]["token"]


@schemathesis.auth(refresh_interval=None)
class Token:
    def get(self, case, context):
        return os.environ["CONTRACT_TOKEN"]

    def set(self, case, data, context):
        # Who signs out must not end the token of the run.
        token = login() if case.operation.path == "/api/v1/auth/logout" else data
        # What makes no difference between readers is read without a token, as it is kept for those.
        if case.operation.definition.raw.get("security"):
            case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def before_call(context, case, kwargs):
    if not is_positive(case):
        return
    headers = case.headers
    if headers and "Idempotency-Key" in headers:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    if headers and "If-Match" in headers:
        headers["If-Match"] = "*"
    complete_query(case)
    complete_body(case)


def complete_query(case):
    query = case.query
    if not query or not query.get("cursor"):
        return
    known = CURSORS.get(case.operation.path, [])
    if not known:
        del query["cursor"]
        return
    cursor, of = known[hash(query["cursor"]) % len(known)]
    for name in list(query):
        if name not in ("limit", "fields", "include"):
            del query[name]
    query.update(of)
    query["cursor"] = cursor


def complete_body(case):
    body = case.body
    if isinstance(body, dict) and case.operation.path == "/api/v2/subscriptions":
        body["email"] = f"{uuid.uuid4()}@example.com"
    if isinstance(body, dict) and case.operation.path == "/api/admin/log" and "level" in body:
        # More would be written than anybody reads.
        body["level"] = "error"
    if not isinstance(body, dict) or not case.operation.path.startswith("/api/v1/posts"):
        return
    if "category_id" in body:
        body["category_id"] = CATEGORIES[int(body["category_id"]) % len(CATEGORIES)]
    if "tags" in body:
        body["tags"] = sorted({TAGS[int(tag) % len(TAGS)] for tag in body["tags"]})
    if "slug" in body:
        body["slug"] = f"{body['slug'][:150]}-{uuid.uuid4()}"
    if "content" in body:
        body["content"] = f"<p>Words</p>{body['content']}"[:1_000_000]
    # Whether a moment is to come or has been depends on the day.
    if isinstance(body.get("published_at"), str):
        body["published_at"] = "2025" + body["published_at"][4:] if body["published_at"][5:10] != "02-29" else "2024-02-29"
        if case.method != "POST":
            body["status"] = "published"
    if isinstance(body.get("scheduled_at"), str):
        body["scheduled_at"] = "2097-05-01"
    if case.method != "POST" and body.get("status") == "scheduled" and not body.get("scheduled_at"):
        body["scheduled_at"] = "2097-05-01"


@schemathesis.hook
def after_call(context, case, response):
    if case.method != "GET" or response.status_code != 200:
        return
    known = CURSORS.setdefault(case.operation.path, [])
    if "cursor" in {parameter.name for parameter in case.operation.query} and len(known) < 50:
        meta = response.json()["meta"]
        of = {
            name: value
            for name, value in (case.query or {}).items()
            if name not in ("limit", "fields", "include", "cursor")
        }
        known.extend((cursor, of) for cursor in (meta["next_cursor"], meta["prev_cursor"]) if cursor)
