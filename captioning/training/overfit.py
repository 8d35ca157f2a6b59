"""The first test of a captioner: can it learn a few captions by heart?

    learn_batch_by_heart(config)   True if it can; writes nothing

A model that cannot learn a handful of captions has a fault in its data path, its decoder or its
options, and more data will not help. One caption each of a few photos, no dropout, no smoothing: in
less than a minute the loss must be near zero and greedy search must return every word.
"""

import dataclasses

import torch
from torch import nn

from captioning.device import get_device
from captioning.inference.search import greedy
from captioning.text import plural
from captioning.training.config import TrainConfig
from captioning.training.losses import caption_loss
from captioning.training.monitoring import loss_and_perplexity, require_finite
from captioning.training.optim import (
    autocast,
    data_dependent_init,
    make_optimizer,
    trainable_parameters,
)
from captioning.training.preparation import prepare_split
from model import build_decoder, build_encoder, split_grid

PHOTOS, STEPS, CHECK_EVERY = 16, 500, 25


def learn_batch_by_heart(config: TrainConfig) -> bool:
    """Train on one caption of each of 16 photos; return whether greedy search repeats them all.

    Prints the loss and the captions that are right as it goes. Raises ValueError where the loss is
    not finite.
    """
    config = dataclasses.replace(
        config, num_samples=min(config.num_samples or PHOTOS, PHOTOS), vocab_threshold=1,
        dropout=0.0, views=1, self_critical_epochs=0,
    )  # fmt: skip
    device = get_device(config.device)
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder_config()).to(device)
    loader, vocab = prepare_split(config, encoder, "train")
    decoder = build_decoder(config.decoder_config(len(vocab))).to(device)
    ids, inputs = next(loader.photos())  # (B, ...): the photos that can be read, in order
    rows = torch.tensor([loader.captions.photo_index.index(row) for row in loader.readable])
    captions = loader.packed.batch(rows[: len(ids)]).to(device)  # (B, T)
    for part, grid in zip(encoder.parts, split_grid(loader.to_grid(inputs)), strict=True):
        data_dependent_init(part.embed, grid, bool(config.pca))
    optimizer = make_optimizer(config, encoder, decoder)
    parameters = trainable_parameters(encoder, decoder)
    for step in range(1, STEPS + 1):
        encoder.train()
        decoder.train()
        with autocast(config, device):
            loss, _ = caption_loss(decoder, loader.encode(inputs), captions)
        optimizer.zero_grad()
        loss.backward()
        if config.grad_clip:
            nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimizer.step()
        if step % CHECK_EVERY == 0:
            require_finite("training loss", loss.item())
            encoder.eval()
            decoder.eval()
            length = captions.shape[1]
            with torch.no_grad():
                found = greedy(decoder, loader.encode(inputs), length, suppress_unk=False).tolist()
            right = sum(
                vocab.decode(a) == vocab.decode(b)
                for a, b in zip(found, captions.tolist(), strict=True)
            )
            loss_text = loss_and_perplexity(loss.item())
            print(f"step {step}  {loss_text}  {right} of {len(captions)} captions right")
            if right == len(captions):
                print(f"learned {plural(len(captions), 'caption')} by heart")
                return True
    print(
        f"NOT learned by heart in {STEPS} steps: try another --lr first; if that does not help, "
        "look for a fault in the data (prepare.py check) or in what you changed"
    )
    return False
