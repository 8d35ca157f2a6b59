"""What training minimizes: cross-entropy of the next word, or minus the CIDEr of whole captions.

    caption_loss(...)         cross-entropy of each next word, without padding or <start>
    CiderReward(...)          CIDEr-D of drawn captions
    self_critical_loss(...)   makes captions that scored above their siblings more probable

    CaptionLoss, SelfCriticalLoss   encoder, decoder and loss as one module, from a batch to its
                                    loss: what several processes synchronize (distributed.py)

Shapes: B images, R captions, T words, P places, H hidden, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from captioning.device import rows_where
from captioning.distributed import FULL_BATCH, BatchShare
from captioning.evaluation.scores import CiderD, References
from captioning.inference.sampling import sample
from captioning.models.decoder import Decoder
from captioning.training.config import TrainConfig
from captioning.training.loaders import CachedLoader, Loader
from vocabulary import Vocabulary

ROWS = 64  # words are projected to the vocabulary in multiples of this many
END_TOKEN = " endofcaption"  # ends every finished caption: stopping well is scored as well


def caption_loss(
    decoder: Decoder,
    features: Tensor,
    captions: Tensor,
    label_smoothing: float = 0.0,
    attention_penalty: float = 0.0,
    scheduled_sampling: float = 0.0,
    share: BatchShare = FULL_BATCH,
) -> tuple[Tensor, int]:
    """Return the mean cross-entropy of each next word, and the number of words it is the mean of.

    features (B, P, E), captions (R, T). The word after <start> is the first target, <end> the last;
    padding is not counted, and hardly any of it is projected to the vocabulary.

    share  of a batch that these captions are: the losses of all its shares add up to its loss
    """
    if not len(captions):  # the last batch may be too small for all processes
        return features.sum() * 0.0, 0
    inputs, targets = captions[:, :-1], captions[:, 1:]
    is_word = targets != Vocabulary.pad
    if scheduled_sampling:
        inputs = _mix_in_predictions(decoder, features, inputs, targets, scheduled_sampling)
    hidden, attention = decoder.hidden_states(features, inputs)  # (R, T - 1, H), (R, T - 1, P)
    rows = rows_where(is_word.flatten(), ROWS)
    logits = decoder.output(hidden.flatten(0, 1)[rows]).float()  # (words and a few more, V)
    loss = F.cross_entropy(
        logits,
        targets.flatten()[rows],
        ignore_index=Vocabulary.pad,
        label_smoothing=label_smoothing,
    )
    loss = loss * share.words
    if attention is not None and attention_penalty:  # "doubly stochastic": attend to every place
        total = (attention * is_word[..., None]).sum(dim=1)  # (R, P)
        loss = loss + attention_penalty * (1 - total).square().mean() * share.captions
    return loss, int(is_word.sum())


@torch.no_grad()
def _mix_in_predictions(
    decoder: Decoder, features: Tensor, inputs: Tensor, targets: Tensor, probability: float
) -> Tensor:
    """Replace input words by the model's own predictions: Mihaylova & Martins, arXiv:1906.07651."""
    predictions = decoder(features, inputs).argmax(dim=-1)
    replace = torch.rand(predictions.shape, device=predictions.device) < probability
    replace &= targets != Vocabulary.pad
    mixed = torch.where(replace, predictions, targets)[:, :-1]
    return torch.cat([inputs[:, :1], mixed], dim=1)


class CaptionLoss(nn.Module):
    """From a batch of the loader to its `caption_loss`, with the options of a run."""

    def __init__(self, loader: Loader, decoder: Decoder, config: TrainConfig):
        super().__init__()
        self.loader, self.config = loader, config
        self.encoder, self.decoder = loader.encoder, decoder

    def forward(self, inputs: Any, captions: Tensor, share: BatchShare) -> Tensor:
        """Return the loss of captions (R, T), as their share of the batch's."""
        if not len(captions):
            return zero_loss(self)
        loss, _ = caption_loss(
            self.decoder,
            self.loader.encode(inputs),
            captions,
            self.config.label_smoothing,
            self.config.attention_penalty,
            self.config.scheduled_sampling,
            share,
        )
        return loss


def zero_loss(module: nn.Module) -> Tensor:
    """Return 0, of which every trainable parameter has a gradient, also 0.

    The last batch may be too small for all processes, and the others wait for all gradients.
    """
    return 0.0 * torch.stack([p.sum() for p in module.parameters() if p.requires_grad]).sum()


class CiderReward:
    """CIDEr-D of drawn captions against their photo's references.

    Document frequencies are those of the training captions, fixed: a reward keeps its meaning.
    """

    def __init__(self, references: References, vocab: Vocabulary):
        ended = {photo: [text + END_TOKEN for text in texts] for photo, texts in references.items()}
        self.cider, self.vocab = CiderD(ended), vocab

    def __call__(self, ids: Sequence, words: Tensor, samples_per_image: int) -> Tensor:
        """words (R, T), the samples of a photo side by side -> rewards (B, samples_per_image)"""
        rewards = []
        for row, numbers in enumerate(words.tolist()):
            text = self.vocab.decode(numbers)
            text += END_TOKEN if self.vocab.end in numbers else ""
            rewards.append(self.cider.score(ids[row // samples_per_image], text))
        return torch.tensor(rewards).view(-1, samples_per_image)


def self_critical_loss(
    decoder: Decoder, features: Tensor, words: Tensor, rewards: Tensor
) -> tuple[Tensor, Tensor]:
    """Return -(reward - mean reward of the photo's other samples) * log p, summed over the words.

    features (B, P, E), words (R, T), rewards (B, samples_per_image). Second comes the number of
    words.

    `<start>` and `<pad>` are never drawn, so they must have no probability here either. Where all
    samples of a photo do badly, all of their words become less probable, and a word that is never
    drawn would take their place unpunished: after some 400 steps `<pad>` had most of the
    probability, and the captions fell apart.
    """
    samples_per_image = rewards.shape[1]
    others = (rewards.sum(dim=1, keepdim=True) - rewards) / (samples_per_image - 1)
    advantage = (rewards - others).view(-1, 1).to(features.device)  # (R, 1)
    captions = F.pad(words, (1, 0), value=Vocabulary.start)  # (R, T + 1)
    is_word = words != Vocabulary.pad
    longest = is_word.sum(dim=1).view(rewards.shape).amax(dim=1)  # (B,)
    siblings = torch.arange(samples_per_image, device=words.device)
    total = torch.zeros((), device=features.device)
    for photos in longest.argsort().chunk(4):  # photos of similar length: less padding
        rows = (samples_per_image * photos[:, None] + siblings).flatten()  # their captions
        is_here = is_word[rows, : int(longest[photos].max())]  # (R', T')
        inputs, targets = (captions[rows, first : first + is_here.shape[1]] for first in (0, 1))
        hidden, _ = decoder.hidden_states(features[photos], inputs)  # a photo is prepared once
        drawn = rows_where(is_here.flatten(), ROWS)
        logits = decoder.output(hidden.flatten(0, 1)[drawn]).float()  # (words and a few more, V)
        logits[:, [Vocabulary.start, Vocabulary.pad]] = -torch.inf  # as when sampling, see above
        losses = F.cross_entropy(  # -log p of each word, 0 of padding
            logits, targets.flatten()[drawn], reduction="none", ignore_index=Vocabulary.pad
        )
        total = total + (advantage[rows].expand_as(is_here).flatten()[drawn] * losses).sum()
    return total, is_word.sum()


class SelfCriticalLoss(nn.Module):
    """From photos to their `self_critical_loss`: captions are drawn and scored on the way."""

    def __init__(self, loader: CachedLoader, decoder: Decoder, reward: CiderReward):
        super().__init__()
        self.loader, self.reward = loader, reward
        self.encoder, self.decoder = loader.encoder, decoder

    def forward(self, rows: Tensor, views: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss, summed over words, and (2,): the number of words, the sum of rewards.

        rows, views  (B,) of the photos
        noise        (B, samples_per_image, max_words) random numbers in [0, 1), for the draws
        """
        if not len(rows):
            return zero_loss(self), noise.new_zeros(2)
        ids = [self.loader.captions.photos[row].id for row in rows.tolist()]
        features = self.loader.encode(self.loader.features.gather_rows(rows, views))
        words = sample(
            self.decoder, features.detach(), noise=noise.flatten(0, 1), suppress_unk=False
        ).clone()
        rewards = self.reward(ids, words, noise.shape[1])
        loss, count = self_critical_loss(self.decoder, features, words, rewards)
        return loss, torch.stack([count.float(), rewards.sum().to(count.device)])
