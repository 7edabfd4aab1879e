# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the Hugging Face hub, in one sentence each.

The errors of huggingface_hub and of its HTTP client differ between versions; this is the one place
that knows them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from depth_perception.errors import UsageError, first_line

#: Packages that raise errors of connections; which one depends on the version of huggingface_hub.
_CLIENTS = ('httpx', 'httpx2', 'httpcore', 'requests', 'urllib3')


class UnreachableError(Exception):
    """The hub was not asked or did not answer; the message says why."""


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Turn errors of the connection into `UnreachableError`."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        yield
    except OfflineModeIsEnabled as error:
        raise UnreachableError('HF_HUB_OFFLINE is set') from error
    except HfHubHTTPError:
        raise
    except Exception as error:
        package = type(error).__module__.partition('.')[0]
        if package not in _CLIENTS and not isinstance(error, (ConnectionError, TimeoutError)):
            raise
        raise UnreachableError(
            f'{constants.ENDPOINT} cannot be reached ({first_line(error)})'
        ) from error


@contextlib.contextmanager
def explained(name: str, revision: str) -> Iterator[None]:
    """Turn refusals of the hub into one sentence each."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f'{constants.ENDPOINT}/{name}'
    try:
        yield
    except GatedRepoError as error:
        raise UsageError(gated(name)) from error
    except RepositoryNotFoundError as error:
        raise UsageError(
            f'there is neither a folder {name} here nor such a network on {constants.ENDPOINT}; '
            'for a private one set HF_TOKEN'
        ) from error
    except RevisionNotFoundError as error:
        raise UsageError(
            f'{name} has no revision {revision}: {page}/commits/main lists them'
        ) from error
    except HFValidationError as error:
        raise UsageError(f'{name} is no name on the hub: {first_line(error)}') from error
    except HfHubHTTPError as error:
        answer = int(getattr(error.response, 'status_code', 0))
        remedies = {401: 'check HF_TOKEN', 403: 'check HF_TOKEN', 404: 'check HF_ENDPOINT'}
        remedy = remedies.get(answer, 'try again later')
        raise UsageError(
            f'{constants.ENDPOINT} refuses {name} (HTTP {answer}): {remedy}'
        ) from error


def gated(name: str) -> str:
    """Return why a gated network is refused, and what to do."""
    from huggingface_hub import constants

    return (
        f'{name} is gated: accept its conditions on {constants.ENDPOINT}/{name}, and set HF_TOKEN '
        'to a token of that account'
    )
