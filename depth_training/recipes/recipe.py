# SPDX-License-Identifier: Apache-2.0
"""A recipe: plain values that define a training run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from depth_training.evaluate.metrics import Averaging
from depth_training.evaluate.protocols import Protocol, get_protocol
from depth_training.losses.names import LossName
from depth_training.ranges import Count, NotNegative, Pixels, Positive, Share
from depth_training.recipes.schedule import Constant, Schedule

#: ImageNet's normalisation of RGB / 255 (torchvision's and timm's ResNets, EfficientNet-B).
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Only RGB / 255 (DenseDepth).
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Recipe:
    """Settings to train one result of a paper.

    Attributes:
        name: name for users.
        title: one line that identifies the row of the paper.
        network: registered name, with `network_arguments` for its factory.
        augment: function of `depth_training.augment.pipelines`, with `augment_arguments`.
        height, width: size of the training crop in pixels.
        test_height, test_width: size in pixels of the network's input in a test.
        test_geometry: how a frame is turned into this input, see
            `depth_training.evaluate.geometry`; it must keep the scale of the training images.
        loss: name in `depth_training.losses.losses`, with `loss_arguments`.
        optimizer: `adam`, `adamw` or `sgd`.
        learning_rate: the largest rate; the encoder's is `encoder_factor` times it.
        batch: images per step, over all processes together.
        epochs: passes over the training pairs.
        steps: length of the run instead of `epochs`; None = `epochs` decides.
        freeze_batch_norm: share of the run after which batch normalisation uses its running
            statistics, as at inference, instead of the batch's; 0 suits a network that is already
            trained, 1 = never.
        average: decay of the moving average of the weights that is evaluated and saved; None = no
            averaging.
        focal: depth is learnt as seen by a camera of this focal length in pixels of `test_width`;
            None = NYU's, and only if the cameras of the data differ.
        protocol: evaluation protocol of the paper, see `depth_training.evaluate.protocols`.
        averaging: averaging of the paper's scores; None = the protocol's.
        perceptual_weight: weight of paper 001's loss network; 0 = without it.
        output: what the network predicts, see `WeightsInfo.output`.
        clip_gradient: largest norm of the gradient; None = not clipped.
        pairs: train on this many equally spaced pairs; None = all.
        truth: `raw` or `filled`, for data that has both.
        reduce: how depth is reduced to the network's output size, see `train.training_data`.
        beyond: known depth outside `min_depth` and `max_depth` is masked, or learnt as that limit
            by losses that clip it (DenseDepth's, whose files store 10 m as 255).
        holes: `left_out` of the loss, or learnt `as_zero`, as in paper 002.
        pretrained: the paper starts from an ImageNet encoder.
        warning: what a user should know before a long run; may be empty.
        views: augmented views of each pair per epoch.
        base: name of the recipe that this one changes; '' = none.
    """

    name: str
    title: str
    network: str
    augment: str
    height: Pixels
    width: Pixels
    test_height: Pixels
    test_width: Pixels
    loss: LossName
    optimizer: Literal['adam', 'adamw', 'sgd']
    learning_rate: Positive
    batch: Count
    epochs: Count
    protocol: str
    averaging: Averaging | None = None
    test_geometry: str = 'squeeze'
    network_arguments: Mapping[str, Any] = field(default_factory=dict)
    augment_arguments: Mapping[str, Any] = field(default_factory=dict)
    loss_arguments: Mapping[str, Any] = field(default_factory=dict)
    perceptual_weight: NotNegative = 0.0
    output: Literal['metres', 'reciprocal'] = 'metres'
    mean: tuple[float, float, float] = IMAGENET[0]
    std: tuple[float, float, float] = IMAGENET[1]
    freeze_batch_norm: Share = 1.0
    weight_decay: NotNegative = 0.0
    momentum: Share = 0.9
    amsgrad: bool = False
    encoder_factor: NotNegative = 1.0
    schedule: Schedule = field(default_factory=Constant)
    clip_gradient: Positive | None = None
    steps: Count | None = None
    average: Share | None = None
    focal: Positive | None = None
    pairs: Count | None = None
    truth: Literal['raw', 'filled'] = 'filled'
    reduce: Literal['nearest', 'mean', 'reciprocal_mean'] = 'nearest'
    beyond: Literal['masked', 'clipped'] = 'masked'
    holes: Literal['left_out', 'as_zero'] = 'left_out'
    min_depth: NotNegative = 1e-3
    max_depth: Positive = 10.0
    pretrained: bool = True
    warning: str = ''
    views: Count = 1
    base: str = ''

    @property
    def own_protocol(self) -> Protocol:
        """Return the protocol with the paper's averaging."""
        protocol = get_protocol(self.protocol)
        return replace(protocol, averaging=self.averaging or protocol.averaging)
