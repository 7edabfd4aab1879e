# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that stands for the Hugging Face hub and its content delivery network."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: What the hub stores with Git LFS; it gives a SHA-256 of these alone.
LARGE = '.safetensors'


@dataclass
class Repository:
    """A network on the hub.

    Attributes:
        files: contents by name; those of `LARGE` are served by the other host.
        revisions: commit of each branch.
        gated: whether nobody may download it.
        drop_after: bytes of a large file after which every connection breaks; None for never.
        stall: whether it then stays silent instead.
        announced: checksums that differ from those of the contents.
        listing: what is answered instead of a list of the files, such as a login page.
    """

    files: dict[str, bytes]
    revisions: dict[str, str] = field(default_factory=lambda: {'main': 'a' * 40})
    gated: bool = False
    drop_after: int | None = None
    stall: bool = False
    announced: dict[str, str] = field(default_factory=dict)
    listing: bytes | None = None


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    host: str
    path: str
    range: str | None
    token: str | None


class Hub:
    """The state of the server: its repositories, and what was asked for."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.stalled = threading.Event()
        self.endpoint = ''

    def downloads(self, name: str) -> list[Request]:
        """The requests for a file's contents, also of the other host."""
        return [one for one in self.requests if one.path.endswith(f'/{name}')]


def folder_files(folder: Path) -> dict[str, bytes]:
    """The files of a folder, as a repository has them."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def serving() -> Iterator[Hub]:
    """Serve on a free port; the other host is the same server by its other name."""
    hub = Hub()
    server = ThreadingHTTPServer(('127.0.0.1', 0), type('Handler', (_Handler,), {'hub': hub}))
    server.daemon_threads = True
    hub.endpoint = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        address = urllib.parse.urlsplit(self.path)
        path = urllib.parse.unquote(address.path)
        self.hub.requests.append(
            Request(
                self.headers['Host'],
                path,
                self.headers['Range'],
                self.headers['Authorization'],
            )
        )
        listed = re.fullmatch(r'/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?', path)
        resolved = re.fullmatch(r'/([^/]+/[^/]+)/resolve/([^/]+)/([^/]+)', path)
        stored = re.fullmatch(r'/cdn/([^/]+/[^/]+)/([^/]+)', path)
        found = listed or resolved or stored
        repository = self.hub.repositories.get(found[1]) if found else None
        if repository is None:
            self._refuse(401, 'RepoNotFound')
        elif listed:
            self._list(repository, listed[1], listed[2] or 'main')
        elif resolved:
            self._resolve(repository, resolved[1], resolved[3])
        else:
            self._send(repository, stored[2])

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header('X-Error-Code', code)
        self.send_header('Content-Length', '0')
        self.end_headers()

    def _list(self, repository: Repository, name: str, revision: str) -> None:
        commits = {**repository.revisions, **{one: one for one in repository.revisions.values()}}
        if revision not in commits:
            self._refuse(404, 'RevisionNotFound')
            return
        siblings = []
        for file, content in repository.files.items():
            blob = hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()
            one = {'rfilename': file, 'size': len(content), 'blobId': blob}
            if file.endswith(LARGE):
                sha256 = repository.announced.get(file, hashlib.sha256(content).hexdigest())
                one['lfs'] = {'sha256': sha256, 'size': len(content), 'pointerSize': 134}
            else:
                one['blobId'] = repository.announced.get(file, blob)
            siblings.append(one)
        if repository.listing is not None:
            self._answer(200, repository.listing, 'text/html')
            return
        said = {'id': name, 'sha': commits[revision], 'siblings': siblings, 'tags': []}
        self._answer(200, json.dumps(said).encode(), 'application/json')

    def _resolve(self, repository: Repository, name: str, file: str) -> None:
        if repository.gated:
            self._refuse(403 if self.headers['Authorization'] else 401, 'GatedRepo')
        elif file.endswith(LARGE):
            self.send_response(302)
            port = self.server.server_port
            self.send_header('Location', f'http://localhost:{port}/cdn/{name}/{file}')
            self.send_header('Content-Length', '0')
            self.end_headers()
        else:
            self._answer(200, repository.files[file], 'text/plain')

    def _send(self, repository: Repository, file: str) -> None:
        content = repository.files[file]
        start = int(re.match(r'bytes=(\d+)-', self.headers['Range'] or 'bytes=0-')[1])
        last = len(content)
        if repository.drop_after is not None:
            last = max(start, repository.drop_after)
        self.send_response(206 if self.headers['Range'] else 200)
        self.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:last])
        self.close_connection = last < len(content)
        if self.close_connection and repository.stall:
            self.hub.stalled.set()
            self.rfile.read(1)  # until the client hangs up

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
