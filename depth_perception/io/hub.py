# SPDX-License-Identifier: Apache-2.0
"""Download depth networks from the Hugging Face hub; only `depth-perception import-model` does so.

Files go to the hub's cache, as its own programs put them there (`HF_HOME`), so what they have
downloaded is used. Each file is compared with the checksum that the hub announces. Downloaded are
the configuration, the model card and weights in safetensors; never pickles or code.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depth_perception import __version__
from depth_perception.errors import UsageError, first_line
from depth_perception.io.files import write_atomically
from depth_perception.io.hub_errors import UnreachableError, connected, explained, gated
from depth_perception.progress import Progress

_CONFIGURATION = ('config.json', 'preprocessor_config.json')
_CARD, _WEIGHTS, _INDEX = 'README.md', 'model.safetensors', 'model.safetensors.index.json'
_SHARD = re.compile(r'model-\d{5}-of-\d{5}\.safetensors')
_CHECKSUM = re.compile(r'[0-9a-f]{40}|[0-9a-f]{64}')
_NAME = re.compile(r'[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*')
#: Seconds that the hub may take to say what a network consists of.
_PATIENCE = 30.0
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class HubFile:
    """A file of a network.

    Attributes:
        name: its name.
        size: bytes.
        expected: what the hub says of its contents: the SHA-256, or for small files the SHA-1 of a
            git blob.
        sha256: SHA-256 of the contents; '' before they are there.
    """

    name: str
    size: int
    expected: str
    sha256: str = ''


@dataclass(frozen=True)
class HubNetwork:
    """A network in the cache, complete and checked.

    Attributes:
        name: `owner/name`.
        commit: the revision, 40 hexadecimal digits.
        page: link to the model card.
        folder: where the files are.
        files: what was downloaded, or was there before.
        note: why the hub was not asked; '' if it was.
    """

    name: str
    commit: str
    page: str
    folder: Path
    files: tuple[HubFile, ...]
    note: str = ''


def is_hub_name(text: str) -> bool:
    """Return whether a text has the form `owner/name`.

    Examples:
        >>> from depth_perception.io.hub import is_hub_name
        >>> is_hub_name('depth-anything/Depth-Anything-V2-Small-hf'), is_hub_name('./network')
        (True, False)
    """
    return _NAME.fullmatch(text) is not None


def download(
    name: str, revision: str, accept: Callable[[Path], object], announce: Callable[[str], None]
) -> HubNetwork:
    """Bring a network into the cache and check each of its files.

    An interrupted download is resumed. If the hub cannot be reached, a complete network in the
    cache is used.

    Args:
        name: `owner/name`.
        revision: branch, tag or commit.
        accept: called with the folder when it has everything but the weights; what it raises ends
            the download.
        announce: called with what is about to be downloaded.

    Raises:
        UsageError: there is no such network, it cannot be had, or a checksum does not match.
        ImportError: huggingface_hub is not installed.
    """
    try:
        with explained(name, revision):
            commit, listed = _listing(name, revision)
            chosen = _choice(name, revision, listed)
            return _Download(name, commit).run(revision, chosen, accept, announce)
    except UnreachableError as error:
        return _from_cache(name, revision, str(error), accept)


def _listing(name: str, revision: str) -> tuple[str, list[HubFile]]:
    """Ask the hub for the commit of a revision, and its files with their checksums."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not constants.ENDPOINT.startswith(('http://', 'https://')):
        raise UsageError(
            f'HF_ENDPOINT is {constants.ENDPOINT!r}: it must begin with https:// or http://'
        )
    if '..' in revision:  # git allows no such name, and files are named by it
        raise UsageError(f'--revision {revision} is no branch, tag or commit')
    try:
        with connected():
            info = HfApi().model_info(
                name, revision=revision, files_metadata=True, timeout=_PATIENCE
            )
        listed = [
            HubFile(one.rfilename, int(one.size), one.lfs.sha256 if one.lfs else one.blob_id)
            for one in info.siblings
        ]
        if not all(map(_CHECKSUM.fullmatch, [info.sha, *(file.expected for file in listed)])):
            raise UsageError(gated(name)) if info.gated else ValueError('checksums are missing')
    except (HfHubHTTPError, HFValidationError, UsageError):
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(
            f'{constants.ENDPOINT} does not answer like a Hugging Face hub '
            f'({first_line(error)}): check HF_ENDPOINT and the connection'
        ) from error
    return info.sha, listed


def _choice(name: str, revision: str, listed: list[HubFile]) -> tuple[list[HubFile], list[HubFile]]:
    """Return the small files and the weights to download.

    Raises:
        UsageError: something is missing.
    """
    files = {file.name: file for file in listed}
    if missing := [one for one in _CONFIGURATION if one not in files]:
        raise UsageError(
            f'{name} cannot be imported: it has no {missing[0]} on the hub, so it is not in the '
            f'layout of transformers; the same network may be there as {name}-hf'
        )
    small = [files[one] for one in (*_CONFIGURATION, _CARD) if one in files]
    if _WEIGHTS in files:
        return small, [files[_WEIGHTS]]
    shards = [file for one, file in sorted(files.items()) if _SHARD.fullmatch(one)]
    if _INDEX in files and shards:
        return [*small, files[_INDEX]], shards
    pickles = [one for one in files if one.endswith(('.bin', '.pt', '.pth', '.ckpt'))]
    why = f'; {pickles[0]} is a pickle, which could run code when loaded' if pickles else ''
    raise UsageError(
        f'{name} cannot be imported: revision {revision} has no {_WEIGHTS}{why}: the tab Community '
        'of its page may offer them, as --revision refs/pr/N'
    )


class _Download:
    """The files of one commit, and their place in the cache."""

    def __init__(self, name: str, commit: str) -> None:
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers

        self._name, self._commit, self._endpoint = name, commit, str(constants.ENDPOINT)
        self._cache = _repository(name)
        self._folder = self._cache / 'snapshots' / commit
        # Compressed answers cannot be resumed.
        self._headers = {
            **build_hf_headers(library_name='depth_perception', library_version=__version__),
            'Accept-Encoding': 'identity',
        }

    def run(
        self,
        revision: str,
        files: tuple[list[HubFile], list[HubFile]],
        accept: Callable[[Path], object],
        announce: Callable[[str], None],
    ) -> HubNetwork:
        small, weights = files
        try:
            missing = sum(map(self._missing, [*small, *weights]))
            self._refuse_full_disk(missing)
            if missing:
                announce(f'downloading {_megabytes(missing)} from {self._endpoint}')
            with self._progress(missing) as progress:
                found = [self._bring(file, progress) for file in small]
                accept(self._folder)
                found += [self._bring(file, progress) for file in weights]
            self._name_commit(revision)
        except OSError as error:
            if error.errno is None:  # not of a file
                raise
            raise UsageError(
                f'cannot write {error.filename or self._cache}: {error.strerror}; HF_HOME names '
                'another folder for downloads'
            ) from error
        page = f'{self._endpoint}/{self._name}/tree/{self._commit}'
        return HubNetwork(self._name, self._commit, page, self._folder, tuple(found))

    def _missing(self, file: HubFile) -> int:
        """Return how many bytes of a file are not here yet."""
        if (self._folder / file.name).exists() or self._blob(file).exists():
            return 0
        partial = self._partial(file)
        return max(0, file.size - (partial.stat().st_size if partial.exists() else 0))

    def _refuse_full_disk(self, missing: int) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self._cache).free
        if missing > free:
            raise UsageError(
                f'{self._name} needs {_megabytes(missing)} more, {self._cache} has '
                f'{_megabytes(free)} free: HF_HOME names another folder for downloads'
            )

    @contextlib.contextmanager
    def _progress(self, missing: int) -> Iterator[Progress]:
        """Show progress in megabytes, and what huggingface_hub reports in between."""
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
        logger = logging.getLogger('huggingface_hub')
        with Progress(f'download {self._name}', missing // _MEGABYTE, ' MB') as progress:
            before, logger.handlers = logger.handlers, [_Remarks(progress)]
            try:
                yield progress
            finally:
                logger.handlers = before

    def _bring(self, file: HubFile, progress: Progress) -> HubFile:
        """Return a file with its checksum, after downloading it if it is missing."""
        pointer, blob = self._folder / file.name, self._blob(file)
        if pointer.exists():
            return _checked(pointer, file, self._endpoint)
        if blob.exists():
            checked = _checked(blob, file, self._endpoint)
        else:
            blob.parent.mkdir(parents=True, exist_ok=True)
            path = self._partial(file)
            with _Partial(path, file.size, progress) as partial:
                try:
                    self._receive(file, partial)
                except BaseException:
                    if not partial.tell():  # nothing to go on from
                        path.unlink()
                    raise
            checked = _checked(path, file, self._endpoint)
            os.replace(path, blob)
        self._folder.mkdir(parents=True, exist_ok=True)
        pointer.unlink(missing_ok=True)  # a link to nothing
        pointer.symlink_to(Path('../../blobs', blob.name))
        return checked

    def _receive(self, file: HubFile, partial: _Partial) -> None:
        """Append what is missing of a file."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get

        try:
            with connected():
                http_get(
                    hf_hub_url(self._name, file.name, revision=self._commit),
                    partial,
                    resume_size=partial.tell(),
                    headers=self._headers,
                    expected_size=file.size,
                    displayed_filename=file.name,
                )
        except UnreachableError as error:
            raise UsageError(
                f'the download of {self._name} was interrupted ({error}): what has arrived of '
                f'{file.name} is kept, and the same command resumes it'
            ) from error

    def _name_commit(self, revision: str) -> None:
        """Record which commit a branch or tag is, for use without a connection."""
        reference = self._cache / 'refs' / revision
        known = self._commit == revision or (
            reference.is_file() and reference.read_text() == self._commit
        )
        if not known:  # the cache may be readable only
            reference.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(reference, [self._commit.encode()])

    def _blob(self, file: HubFile) -> Path:
        return self._cache / 'blobs' / file.expected

    def _partial(self, file: HubFile) -> Path:
        return self._cache / 'blobs' / f'{file.expected}.incomplete'


class _Partial(io.BufferedWriter):
    """A file that grows at its end, whose growth is shown; one process at a time may write it."""

    def __init__(self, path: Path, size: int, progress: Progress) -> None:
        super().__init__(io.FileIO(path, 'a'))
        self._progress, self._bytes = progress, 0
        try:
            fcntl.flock(self, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise UsageError(f'{path} is being downloaded by another process: wait') from error
        if self.tell() > size:  # of another file
            self.truncate(0)

    def write(self, data: Any, /) -> int:
        """Append bytes."""
        count = super().write(data)
        before, self._bytes = self._bytes, self._bytes + count
        self._progress.step(self._bytes // _MEGABYTE - before // _MEGABYTE)
        return count


class _Remarks(logging.Handler):
    """Write warnings of huggingface_hub as one line each."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """Write the first line of a message."""
        self._progress.say(f'import-model: {record.getMessage().strip().splitlines()[0]}')


def _checked(path: Path, file: HubFile, endpoint: str) -> HubFile:
    """Return the file with its SHA-256; remove it if it is not what the hub announced."""
    sha256 = hashlib.sha256()
    git = hashlib.sha1(b'blob %d\0' % path.stat().st_size, usedforsecurity=False)
    with path.open('rb') as stream:
        while block := stream.read(1 << 20):
            sha256.update(block)
            git.update(block)
    found = git.hexdigest() if len(file.expected) == git.digest_size * 2 else sha256.hexdigest()
    if found != file.expected and file.expected:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise UsageError(
            f'{file.name} is not what the hub announces: its checksum is {found} instead of '
            f'{file.expected}; it was removed: run the command again, and if that does not help, '
            f'do not trust {endpoint}'
        )
    return HubFile(file.name, path.stat().st_size, file.expected, sha256.hexdigest())


def _from_cache(name: str, revision: str, why: str, accept: Callable[[Path], object]) -> HubNetwork:
    """Return a network that was downloaded completely before.

    Raises:
        UsageError: there is none.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(name, _CONFIGURATION[0], revision=revision)
    folder = Path(found).parent if isinstance(found, str) else None
    if folder is None or not _is_complete(folder):
        raise UsageError(
            f'{name} cannot be downloaded: {why}, and revision {revision} is not complete in '
            f'{_repository(name)}; a folder that another machine made with "hf download {name} '
            '--local-dir FOLDER" can be imported without a connection'
        )
    accept(folder)
    files = tuple(
        _checked(path, HubFile(path.name, 0, _announced(path)), constants.ENDPOINT)
        for path in sorted(folder.iterdir())
        if path.name in (*_CONFIGURATION, _CARD, _WEIGHTS, _INDEX) or _SHARD.fullmatch(path.name)
    )
    page = f'{constants.ENDPOINT}/{name}/tree/{folder.name}'
    return HubNetwork(name, folder.name, page, folder, files, why)


def _announced(path: Path) -> str:
    """Return the checksum by which the cache stores a file; '' if it stores a copy."""
    name = path.resolve().name
    return name if _CHECKSUM.fullmatch(name) else ''


def _is_complete(folder: Path) -> bool:
    shards = [path.name for path in folder.iterdir() if _SHARD.fullmatch(path.name)]
    whole = bool(shards) and len(shards) == int(shards[0].split('-')[3].partition('.')[0])
    return all((folder / one).exists() for one in _CONFIGURATION) and (
        (folder / _WEIGHTS).exists() or ((folder / _INDEX).exists() and whole)
    )


def _repository(name: str) -> Path:
    """Return the folder of a network in the cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f'models--{name.replace("/", "--")}'


def _megabytes(count: int) -> str:
    return f'{count / _MEGABYTE:.1f} MB'
