"""An LSTM that attends to the P places of the photo before every word.

    AttentionDecoder   features (B, P, E), captions (B, T) -> logits (B, T, V), attention (B, T, P)

Xu et al., "Show, Attend and Tell", 2015, arXiv:1502.03044, with the additive attention of Bahdanau
et al. 2014, arXiv:1409.0473. The shapes: B images, P places, E embedding, H hidden.
"""

import torch
from torch import Tensor, nn

from captioning.models.decoder import ONE_PLACE, Decoder, State, repeat_state


class AttentionDecoder(Decoder):
    """Additive attention over the P places, a gate, and an LSTM.

    The gate decides how much the attended features matter for this word; the LSTM reads the word
    and the gated features, and both the hidden state and the features predict the next word.
    """

    def __init__(
        self,
        embed_size: int,
        hidden_size: int,
        vocab_size: int,
        num_layers: int = 1,
        dropout: float = 0.0,
        tie_weights: bool = False,
    ):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights)
        if num_layers != 1:
            raise ValueError(
                "AttentionDecoder has one layer: its hidden state is the query. "
                "Use num_layers=1, or the Transformer for several layers of attention."
            )
        self.init_state = nn.Linear(embed_size, 2 * hidden_size)
        self.key = nn.Linear(embed_size, hidden_size)
        self.query = nn.Linear(hidden_size, hidden_size, bias=False)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.gate = nn.Linear(hidden_size, embed_size)
        self.lstm = nn.LSTMCell(2 * embed_size, hidden_size)
        self.context_proj = nn.Linear(embed_size, hidden_size, bias=False)
        self.dropout = nn.Dropout(dropout)

    def start(self, features: Tensor) -> State:
        if features.shape[1] < 2:
            raise ValueError(ONE_PLACE)
        hidden, cell = self.init_state(features.mean(dim=1)).tanh().chunk(2, dim=-1)  # (B, H) each
        return hidden, cell, features, self.key(features)

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        output, state, attention = self._attend(self.dropout(self.word_embedding(word)), state)
        return self.output(output), state, attention

    def hidden_states(self, features: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        words = self.dropout(self.word_embedding(captions))  # (B, T, E)
        state, outputs, attentions = repeat_state(self.start(features), len(words)), [], []
        for word in words.unbind(1):  # the query depends on the previous step: no shortcut
            output, state, attention = self._attend(word, state)
            outputs.append(output)
            attentions.append(attention)
        return torch.stack(outputs, dim=1), torch.stack(attentions, dim=1)

    def _attend(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """word (B, E), embedded -> (B, H) for the projection, next state, attention (B, P)."""
        hidden, cell, features, key = state
        energy = (key + self.query(hidden)[:, None]).tanh_()  # (B, P, H)
        attention = self.score(energy).squeeze(-1).float().softmax(dim=-1)  # (B, P)
        context = (attention.to(features.dtype)[:, None] @ features)[:, 0]  # (B, E)
        context = self.gate(hidden).sigmoid() * context
        hidden, cell = self.lstm(torch.cat([word, context], dim=-1), (hidden, cell))
        output = self.dropout(torch.tanh(hidden + self.context_proj(context)))  # "deep output"
        return output, (hidden, cell, features, key), attention
