"""Common wrong answers to the exercises of notebook 1; its checks refuse each in a sentence."""

WRONG = {
    "1": [
        """
def conv_size(n, k, s, p):
    return (n + 2 * p - k) / s + 1
""",
        """
def conv_size(n, k, s, p):
    return (n + 2 * p - k) // s
""",
        """
def conv_size(n, k, s, p):
    return (n + p - k) // s + 1
""",
    ],
    "2": [
        """
def lstm_parameters(E, H, layers):
    return layers * 4 * H * (E + H + 2)
""",
        """
def lstm_parameters(E, H, layers):
    return 4 * H * (E + H + 1) + (layers - 1) * 4 * H * (H + H + 1)
""",
        """
def lstm_parameters(E, H, layers):
    return H * (E + H + 2) + (layers - 1) * H * (H + H + 2)
""",
    ],
    "3": [
        """
def in_and_out(captions, pad):
    return captions, captions, captions != pad
""",
        """
def in_and_out(captions, pad):
    return captions[:, :-1], captions[:, :-1], captions[:, :-1] != pad
""",
        """
def in_and_out(captions, pad):
    return captions[:, :-1], captions[:, 1:], captions[:, :-1] != pad
""",
    ],
    "4": [
        """
def causal_mask(T):
    return torch.ones(T, T).triu().bool()
""",
        """
def causal_mask(T):
    return torch.ones(T, T).tril(-1).bool()
""",
        """
def causal_mask(T):
    return torch.eye(T).bool()
""",
    ],
    "5": [
        """
def gru_step(x, h, W, U, b, c):
    Wr, Wz, Wn = W.chunk(3)
    Ur, Uz, Un = U.chunk(3)
    (br, bz, bn), (cr, cz, cn) = b.chunk(3), c.chunk(3)
    r = (x @ Wr.T + br + h @ Ur.T + cr).sigmoid()
    z = (x @ Wz.T + bz + h @ Uz.T + cz).sigmoid()
    n = (x @ Wn.T + bn + (r * h) @ Un.T + cn).tanh()
    return (1 - z) * n + z * h
""",
        """
def gru_step(x, h, W, U, b, c):
    from_x, from_h = (x @ W.T + b).chunk(3, dim=-1), (h @ U.T + c).chunk(3, dim=-1)
    r, z = (from_x[0] + from_h[0]).sigmoid(), (from_x[1] + from_h[1]).sigmoid()
    n = (from_x[2] + r * from_h[2]).tanh()
    return z * n + (1 - z) * h
""",
    ],
    "6": [
        """
def dlogits(logits, targets):
    return logits.softmax(dim=-1) - F.one_hot(targets, logits.shape[1])
""",
        """
def dlogits(logits, targets):
    return (F.one_hot(targets, logits.shape[1]) - logits.softmax(dim=-1)) / len(targets)
""",
        """
def dlogits(logits, targets):
    return logits.softmax(dim=-1) / len(targets)
""",
    ],
    "7": [
        """
def freeze(network):
    return network.requires_grad_(False)
""",
        """
def freeze(network):
    return network.eval()
""",
        """
def freeze(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.0
    return network.requires_grad_(False)
""",
    ],
    "8": [
        """
class Leaky(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.rnn = nn.GRU(embed_size, hidden_size // 2, batch_first=True, bidirectional=True)

    def start(self, features):
        return (features.mean(dim=1),)

    def step(self, word, state):
        return self.output(self.rnn(self.word_embedding(word)[:, None])[0][:, 0]), state, None

    def hidden_states(self, features, captions):
        return self.rnn(self.word_embedding(captions))[0], None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Leaky(embed_size, hidden_size, vocab_size)
""",
        """
class Forgetful(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.rnn = nn.GRU(embed_size, hidden_size, batch_first=True)

    def start(self, features):
        return (features.mean(dim=1),)

    def step(self, word, state):
        return self.output(self.rnn(self.word_embedding(word)[:, None])[0][:, 0]), state, None

    def hidden_states(self, features, captions):
        return self.rnn(self.word_embedding(captions))[0], None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Forgetful(embed_size, hidden_size, vocab_size)
""",
    ],
}
