# SPDX-License-Identifier: Apache-2.0
"""Failures to write the files of a run, as a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from depth_training.train import checkpoint
from depth_training.train.options import TrainingError


@contextmanager
def writing(what: str, folder: Path) -> Iterator[None]:
    """Convert a failure to write into a sentence.

    Raises:
        TrainingError: an OSError was raised inside.
    """
    try:
        yield
    except OSError as error:
        remedy = (
            'the previous checkpoint is complete, so free some space and resume with --resume'
            if checkpoint.exists(folder)
            else 'there is no checkpoint yet: free some space and start again'
        )
        raise TrainingError(
            f'cannot write the {what} to {folder}: {error.strerror or error}; {remedy}'
        ) from error
