"""Foundation models by name: download, resume, identity, and what to do without network."""

from __future__ import annotations

import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from distill.core.errors import UserError
from distill.models.mace import foundation_store as module
from distill.models.mace.foundation_store import (
    cache_folder,
    download,
    find_foundation,
    foundation_urls,
    git_blob_id,
)

CONTENT = np.random.default_rng(0).bytes(3_300_000)
GIT_BLOB = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT, with ranges; can break off, refuse ranges, or hide the length."""

    def do_GET(self):
        server = self.server
        start = 0
        asked = self.headers.get("Range")
        server.ranges.append(asked)
        if self.path == "/missing":
            self.send_error(404)
            return
        if asked and server.honours_ranges:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                self.end_headers()
                return
            self.send_response(206)
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.breaks_after is not None:
            body, server.breaks_after = body[: server.breaks_after], None
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(autouse=True)
def one_try(monkeypatch):
    """What stops is not tried again, so that tests see how it stopped."""
    monkeypatch.setattr(module, "RETRIES", 0)


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.ranges, server.honours_ranges, server.breaks_after = [], True, None
    server.url = f"http://127.0.0.1:{server.server_address[1]}/tiny.model"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def known(monkeypatch, tmp_path):
    """Makes `demo` a known name at a given address, with an empty cache."""
    monkeypatch.setenv("DISTILL_CACHE", str(tmp_path / "cache"))

    def set_url(url):
        monkeypatch.setattr(module, "foundation_urls", lambda: {"demo": url})

    return set_url


def test_a_named_model_is_downloaded_once(server, known, tmp_path, capsys):
    known(server.url)
    first = find_foundation("demo")
    second = find_foundation("demo")
    assert first == second
    assert first.path == tmp_path / "cache" / "tiny.model"
    assert first.path.read_bytes() == CONTENT
    assert first.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert len(server.ranges) == 1
    assert server.url in capsys.readouterr().out


def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path):
    target = tmp_path / "tiny.model"
    server.breaks_after = 2_500_000
    with pytest.raises(UserError, match="same command again"):
        download(server.url, target)
    partial = tmp_path / "tiny.model.partial"
    assert not target.exists()
    have = partial.stat().st_size
    assert 0 < have <= 2_500_000
    download(server.url, target, git_blob=GIT_BLOB)
    assert target.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={have}-"]
    assert not partial.exists()


def test_a_connection_that_breaks_is_taken_up_again_by_itself(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RETRIES", 1)
    server.breaks_after = 2_500_000
    download(server.url, tmp_path / "tiny.model", git_blob=GIT_BLOB)
    assert (tmp_path / "tiny.model").read_bytes() == CONTENT
    first, second = server.ranges
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 2_500_000


def test_a_file_downloaded_again_must_be_the_same(server, tmp_path):
    target = tmp_path / "tiny.model"
    download(server.url, target)
    target.unlink()
    download(server.url, target)
    record = tmp_path / "tiny.model.json"
    record.write_text(record.read_text().replace(hashlib.sha256(CONTENT).hexdigest(), "0" * 64))
    target.unlink()
    with pytest.raises(UserError, match=r"not the one that was downloaded before: .*remove .*json"):
        download(server.url, target)
    assert not target.exists()


def test_a_complete_partial_file_is_not_fetched_again(server, tmp_path):
    (tmp_path / "tiny.model.partial").write_bytes(CONTENT)
    download(server.url, tmp_path / "tiny.model", git_blob=GIT_BLOB)
    assert (tmp_path / "tiny.model").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.honours_ranges = False
    (tmp_path / "tiny.model.partial").write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "tiny.model", git_blob=GIT_BLOB)
    assert (tmp_path / "tiny.model").read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_removed(server, tmp_path):
    partial = tmp_path / "tiny.model.partial"
    partial.write_bytes(CONTENT + b"x")
    with pytest.raises(UserError, match="longer than the file"):
        download(server.url, tmp_path / "tiny.model")
    assert not partial.exists()


def test_another_file_than_the_published_one_is_removed(server, tmp_path):
    with pytest.raises(UserError, match="not the published model"):
        download(server.url, tmp_path / "tiny.model", git_blob="0" * 40)
    assert list(tmp_path.iterdir()) == []


def test_git_identity(tmp_path):
    path = tmp_path / "hello"
    path.write_bytes(b"hello\n")
    assert git_blob_id(path) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_without_network_the_message_says_where_to_put_the_file(known, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    known(f"http://127.0.0.1:{port}/tiny.model")
    with pytest.raises(UserError) as caught:
        find_foundation("demo")
    message = str(caught.value)
    for words in ("no connection", "tiny.model", str(tmp_path / "cache"), "teacher.foundation"):
        assert words in message


def test_a_refusing_server_is_named(server, known):
    known(server.url.replace("tiny.model", "missing"))
    with pytest.raises(UserError, match="404"):
        find_foundation("demo")


def test_a_changed_file_in_the_cache_is_refused(server, known):
    known(server.url)
    path = find_foundation("demo").path
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(UserError, match="has changed since it was downloaded"):
        find_foundation("demo")


def test_a_file_put_into_the_cache_by_hand_is_taken(known, tmp_path):
    known("http://127.0.0.1:1/tiny.model")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tiny.model").write_bytes(b"by hand")
    assert find_foundation("demo").path.read_bytes() == b"by hand"


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError) as caught:
        find_foundation("medum")
    for name in ("medium-mpa-0", "small", "mh-1", "off-small", "bundled"):
        assert name in str(caught.value)


def test_names_are_those_of_mace_torch():
    assert {"small", "medium", "large", "medium-0b3", "medium-omat-0"} <= set(foundation_urls())


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DISTILL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "distill"
