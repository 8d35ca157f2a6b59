"""The attention decoder against the same computation by hand."""

import torch

from tests.helpers import HIDDEN, NUM_PLACES, assert_close, make, random_captions, random_features


@torch.no_grad()
def test_the_attention_decoder_by_hand():
    d, features, captions = make("attention"), random_features(2), random_captions(2, 3)
    hidden, cell = torch.tanh(d.init_state(features.mean(dim=1))).split(HIDDEN, dim=-1)
    logits = []
    for word in captions.unbind(1):
        scores = torch.zeros(2, NUM_PLACES)
        for place in range(NUM_PLACES):
            query = d.query.weight @ hidden.T  # (H, B)
            key = d.key.weight @ features[:, place].T + d.key.bias[:, None]
            scores[:, place] = (d.score.weight @ torch.tanh(query + key))[0]
        weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
        context = sum(weights[:, [p]] * features[:, p] for p in range(NUM_PLACES))
        context = torch.sigmoid(d.gate(hidden)) * context
        read = torch.cat([d.word_embedding.weight[word], context], dim=1)
        hidden, cell = d.lstm(read, (hidden, cell))
        logits.append(d.output(torch.tanh(hidden + d.context_proj(context))))
    assert_close(torch.stack(logits, dim=1), d(features, captions))
