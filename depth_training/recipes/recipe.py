# SPDX-License-Identifier: Apache-2.0
"""What a recipe says: plain values, nothing that runs."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from depth_training.evaluate.metrics import Averaging
from depth_training.evaluate.protocols import Protocol, get_protocol
from depth_training.options import LossName
from depth_training.ranges import Count, NotNegative, Pixels, Positive, Share
from depth_training.recipes.schedule import Constant, Schedule

#: ImageNet's normalisation of RGB / 255 (torchvision's and timm's ResNets, EfficientNet-B).
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
#: Only RGB / 255 (DenseDepth).
UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))



@dataclass(frozen=True)
class Recipe:
    """How one result of a paper is trained.

    Attributes:
        name: what users call it.
        title: one line: which row of which paper.
        network: registered name, with `network_arguments` for its factory.
        augment: function of `depth_training.augment.pipelines`, with `augment_arguments`.
        height, width: pixels of the training crop.
        test_height, test_width: pixels of what the network sees of a frame in a test.
        test_geometry: how a frame becomes that, see `depth_training.evaluate.geometry`; it must
            show things at the scale of the training pictures.
        loss: name in `depth_training.losses.losses`, with `loss_arguments`.
        optimizer: `adam`, `adamw` or `sgd`.
        learning_rate: the largest; `encoder_factor` times it for the encoder.
        batch: images a step, over all processes together.
        epochs: passes over the training pairs.
        steps: length of the run instead of `epochs`; None = those.
        freeze_batch_norm: share of the run after which batch normalisation uses its running
            statistics, as in use, and no longer those of the batch; 0 suits a network that has
            learnt before, 1 is never.
        average: decay of the moving average that is judged and saved; None = the network itself.
        focal: depth is learnt as a camera of this focal length would see it, in pixels of
            `test_width`; None = NYU's, and only where the cameras of the data differ.
        protocol: by which the paper judges, see `depth_training.evaluate.protocols`.
        averaging: the paper's, of its scores; None = the protocol's.
        perceptual_weight: of paper 001's loss network; 0 = without it.
        output: what the network gives, see `WeightsInfo.output`.
        clip_gradient: largest norm of the gradient; None = not clipped.
        pairs: train on so many equally spaced pairs; None = all.
        truth: `raw` or `filled`, for data that has both.
        reduce: how depth is brought to the network's output size, see `data.training`.
        beyond: known depth outside of `min_depth` and `max_depth` is not learnt, or is learnt as
            that limit, by losses that clip it (DenseDepth's, to which 255 in its files is 10 m).
        holes: `left_out` of the loss, or learnt `as_zero`, as paper 002 does.
        pretrained: the paper starts from an ImageNet encoder.
        warning: what a user should know before a long run; may be empty.
        views: an epoch sees so many augmented views of each pair.
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
        """The protocol with the paper's averaging."""
        protocol = get_protocol(self.protocol)
        return replace(protocol, averaging=self.averaging or protocol.averaging)
