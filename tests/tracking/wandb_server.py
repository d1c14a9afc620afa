"""A local server with the parts of W&B's API that its client needs for runs, files and models.

The real server needs an account. Each answer contains the fields that the client's query asks
for; unknown queries get an empty answer.
"""

import gzip
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.servers import listening

KEY = "a" * 40
_PROJECT = {"id": "p", "internalId": "p", "name": "p", "entity": {"id": "e", "name": "team"}}


@dataclass
class Run:
    """A run on the server. exit_code is None while it is running."""

    name: str
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    def settings(self) -> dict[str, Any]:
        return {key: held["value"] for key, held in self.config.items() if key != "_wandb"}


class WandbServer:
    """Runs by id, artifact types by number, uploaded files by path."""

    def __init__(self) -> None:
        self.url = ""
        self.stalled = False
        """Whether requests are left without an answer."""
        self.runs: dict[str, Run] = {}
        self.artifacts: list[str] = []
        self.files: dict[str, bytes] = {}

    def query(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL query by its name."""
        answers = {
            "Viewer": self._viewer,
            "RunResumeStatus": self._status,
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._run_files,
            "ArtifactType": lambda _: {"project": {"artifact": None}},
            "CreateArtifact": self._artifact,
            "CreateArtifactManifest": self._manifest,
            "CreateArtifactFiles": self._artifact_files,
            "CommitArtifact": lambda _: {"commitArtifact": {"artifact": {"id": "", "digest": ""}}},
            "ArtifactByID": self._artifact_by_id,
        }
        return answers[name](given) if name in answers else {}

    def stream(self, run: str, content: dict[str, Any]) -> None:
        """Store lines of a run's history and summary, and its exit code."""
        stored = self.runs[run]
        for name, part in content.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                stored.history.update(enumerate(lines, start=part["offset"]))
            if name == "wandb-summary.json":
                stored.summary = lines[-1]
        if content.get("complete"):
            stored.exit_code = content["exitcode"]

    def _viewer(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "v", "entity": "team", "username": "anna", "teams": {"edges": []}}}

    def _status(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        bucket = run and {
            "id": given["name"],
            "name": given["name"],
            "displayName": run.name,
            "summaryMetrics": json.dumps(run.summary),
            "config": json.dumps(run.config),
            "historyLineCount": len(run.history),
            "historyTail": json.dumps([json.dumps(row) for row in [*run.history.values()][-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "tags": [],
            "wandbConfig": json.dumps({"t": 1}),
        }
        return {"model": {"id": "m", "name": given["project"], "bucket": bucket}}

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        inserted = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], Run(given["displayName"] or ""))
        run.config |= json.loads(given["config"])
        bucket = {
            "id": given["name"],
            "name": given["name"],
            "displayName": run.name,
            "config": json.dumps(run.config),
            "historyLineCount": len(run.history),
            "project": _PROJECT | {"name": given["project"]},
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _run_files(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [
            {"name": name, "uploadUrl": f"{self.url}/{given['run']}/{name}"}
            for name in given["files"]
        ]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _artifact(self, given: dict[str, Any]) -> dict[str, Any]:
        self.artifacts.append(given["input"]["artifactTypeName"])
        artifact = {"id": str(len(self.artifacts) - 1), "state": "PENDING"}
        return {"createArtifact": {"artifact": artifact | {"artifactSequence": {"id": "s"}}}}

    def _manifest(self, given: dict[str, Any]) -> dict[str, Any]:
        url = f"{self.url}/manifest/{given['artifactID']}"
        manifest = {"id": "m", "file": {"id": "f", "uploadUrl": url, "uploadHeaders": []}}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _artifact_files(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = []
        for file in given["input"]["artifactFiles"]:
            kind = self.artifacts[int(file["artifactID"])]
            node = {
                "storagePath": file["name"],
                "uploadUrl": f"{self.url}/{kind}/{file['name']}",
                "uploadHeaders": [],
                "artifact": {"id": file["artifactID"]},
            }
            nodes.append({"node": node})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def _artifact_by_id(self, given: dict[str, Any]) -> dict[str, Any]:
        collection = {"__typename": "ArtifactSequence", "name": "c", "project": _PROJECT}
        artifact = {
            "__typename": "Artifact",
            "id": given["id"],
            "artifactSequence": collection,
            "versionIndex": 0,
            "artifactType": {"name": self.artifacts[int(given["id"])]},
            "description": None,
            "metadata": None,
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 1,
            "digest": "d",
            "commitHash": "h",
            "fileCount": 1,
            "createdAt": "2000-01-01T00:00:00",
            "updatedAt": None,
            "aliases": [],
        }
        return {"artifact": artifact}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, server: WandbServer, *args) -> None:
        self.wandb_server = server
        super().__init__(*args)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:  # the client closes the connection abruptly
            self.close_connection = True

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = self._body()
        while self.wandb_server.stalled:
            time.sleep(0.05)
        answer: dict[str, Any] = {}
        if path == "/graphql":
            asked = json.loads(body)
            name = re.search(r"(?:query|mutation) (\w+)", asked["query"])[1]
            answer = {"data": self.wandb_server.query(name, asked.get("variables") or {})}
        elif path.endswith("/file_stream"):
            self.wandb_server.stream(path.split("/")[-2], json.loads(body))
        self._answer(answer)

    def do_PUT(self) -> None:
        self.wandb_server.files[unquote(urlsplit(self.path).path).removeprefix("/")] = self._body()
        self._answer({})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _chunk(self) -> bytes:
        content = self.rfile.read(int(self.rfile.readline(), 16))
        self.rfile.readline()
        return content

    def _answer(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


@contextmanager
def serve_wandb() -> Iterator[WandbServer]:
    """Run the server until the block ends."""
    server = WandbServer()
    with listening(partial(_Handler, server)) as port:
        server.url = f"http://127.0.0.1:{port}"
        yield server
