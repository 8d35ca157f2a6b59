"""Answers to the exercises of notebook 1: WRONG are refused in a sentence, RIGHT are accepted."""

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
        """
def conv_size(n, k, s, p):
    return n // s
""",
        """
def conv_size(n, k, s, p):
    return (n + 2 * p) // s
""",
        """
def conv_size(n, k, s, p):
    return (n + 2 * p - k + 1) // s
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
        """
def lstm_parameters(E, H, layers):
    return 3 * H * (E + H + 2) + (layers - 1) * 3 * H * (H + H + 2)
""",
        """
def lstm_parameters(E, H, layers):
    return 4 * H * (E + H + 2) + (layers - 1) * 4 * H * (E + H + 2)
""",
        """
def lstm_parameters(E, H, layers):
    return 4 * H * (E + H) * layers
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
        """
def in_and_out(captions, pad):
    targets = captions[:, 1:]
    return torch.zeros_like(targets), targets, targets != pad
""",
        """
def in_and_out(captions, pad):
    inputs, targets = captions[:, :-1], captions[:, 1:]
    return inputs, targets, targets > 1
""",
        """
def in_and_out(captions, pad):
    inputs, targets = captions[:, :-1], captions[:, 1:]
    return inputs, targets, targets != 3
""",
        """
def in_and_out(captions, pad):
    return captions[:, :-1], captions[:, 1:]
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
        """
def causal_mask(T):
    return torch.ones(3, 3).tril().bool()
""",
        """
def causal_mask(T):
    return torch.ones(T, T).triu(1).bool()
""",
        """
def causal_mask(T):
    mask = torch.ones(T, T).tril().bool()
    mask[3:] = True
    return mask
""",
        """
def causal_mask(T):
    return torch.ones(T).bool()
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
        """
def gru_step(x, h, W, U, b, c):
    from_x, from_h = (x @ W.T + b).chunk(3, dim=-1), (h @ U.T + c).chunk(3, dim=-1)
    z, r = (from_x[0] + from_h[0]).sigmoid(), (from_x[1] + from_h[1]).sigmoid()
    n = (from_x[2] + r * from_h[2]).tanh()
    return (1 - z) * n + z * h
""",
        """
def gru_step(x, h, W, U, b, c):
    r, z, n = (x @ W.T + b + h @ U.T + c).chunk(3, dim=-1)
    return (1 - z.sigmoid()) * n.tanh() + z.sigmoid() * h
""",
        """
def gru_step(x, h, W, U, b, c):
    from_x, from_h = (x @ W.T).chunk(3, dim=-1), (h @ U.T).chunk(3, dim=-1)
    r, z = (from_x[0] + from_h[0]).sigmoid(), (from_x[1] + from_h[1]).sigmoid()
    n = (from_x[2] + r * from_h[2]).tanh()
    return (1 - z) * n + z * h
""",
        """
def gru_step(x, h, W, U, b, c):
    from_x, from_h = (x @ W.T + b).chunk(3, dim=-1), (h @ U.T + c).chunk(3, dim=-1)
    r, z = (from_x[0] + from_h[0]).sigmoid(), (from_x[1] + from_h[1]).sigmoid()
    n = (from_x[2] + r * from_h[2]).tanh()
    return (1 - z) * n + z * h, n
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
        """
def dlogits(logits, targets):
    return (logits.softmax(dim=-1) - F.one_hot(targets, logits.shape[1])) / 5
""",
        """
def dlogits(logits, targets):
    return (logits.softmax(dim=0) - F.one_hot(targets, logits.shape[1])) / len(targets)
""",
        """
def dlogits(logits, targets):
    return (logits.softmax(dim=-1)[range(len(targets)), targets] - 1) / len(targets)
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
        """
class Frozen(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def train(self, mode=True):
        super().train(mode)
        self.network.eval()
        return self

    def forward(self, x):
        return self.network(x)


def freeze(network):
    return Frozen(network)
""",
        """
def freeze(network):
    network.requires_grad_(False)
    return lambda x: network.eval()(x)
""",
        """
class Frozen(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network.requires_grad_(False)

    def forward(self, x):
        with torch.no_grad():
            return self.network(x)


def freeze(network):
    return Frozen(network).eval()
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
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(2 * embed_size, hidden_size)

    def start(self, features):
        return (features.mean(dim=1),)

    def next_hidden(self, word, state):
        inputs = torch.cat([self.word_embedding(word), state[0]], dim=-1)
        return self.combine(inputs).tanh(), state

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(2 * embed_size, hidden_size)

    def start(self, features):
        return (torch.zeros(len(features), features.shape[2]),) * 2

    def next_hidden(self, word, state):
        image, total = state
        total = total + self.word_embedding(word)
        return self.combine(torch.cat([total, image], dim=-1)).tanh(), (image, total)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.GRU(2 * embed_size, hidden_size, batch_first=True)

    def start(self, features):
        image = features.mean(dim=1)
        return image, torch.zeros(1, 1, 8)

    def next_hidden(self, word, state):
        image, hidden = state
        inputs = torch.cat([self.word_embedding(word), image], dim=-1)
        output, hidden = self.combine(inputs[:, None], hidden.expand(1, len(word), -1).contiguous())
        return output[:, 0], (image, hidden)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(2 * embed_size, hidden_size)

    def start(self, features):
        image = features.mean(dim=1)
        return image, torch.zeros_like(image)

    def next_hidden(self, word, state):
        image, total = state
        total = total + self.word_embedding(word)
        return self.combine(torch.cat([total, image], dim=-1)).tanh(), (image, total)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return hidden, state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(2 * embed_size, hidden_size)

    def start(self, features):
        image = features.mean(dim=1)
        return image, torch.zeros_like(image)

    def next_hidden(self, word, state):
        image, total = state
        total = total + self.word_embedding(word)
        return self.combine(torch.cat([total, image], dim=-1)).tanh(), (image, total)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), self.start(state[0][:, None]), None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
    ],
    "9": [
        """
def most_similar(grid, place, k):
    return F.cosine_similarity(grid[place], grid, dim=-1).topk(k).indices
""",
        """
def most_similar(grid, place, k):
    return F.cosine_similarity(grid[place], grid, dim=-1).topk(k + 1).values[1:]
""",
        """
def most_similar(grid, place, k):
    similar = grid @ grid[place]
    similar[place] = -torch.inf
    return similar.topk(k).indices
""",
        """
def most_similar(grid, place, k):
    return F.cosine_similarity(grid[place], grid, dim=-1).argsort()[:k]
""",
        """
def most_similar(grid, place, k):
    distance = (grid - grid[place]).norm(dim=-1)
    return distance.argsort()[1 : k + 1]
""",
        """
def most_similar(grid, place, k):
    return F.cosine_similarity(grid[place], grid, dim=-1).argsort(descending=True)[1:]
""",
        """
def most_similar(grid, place, k):
    similar = F.cosine_similarity(grid[place], grid, dim=-1)
    similar[0] = -1
    return similar.topk(k).indices
""",
    ],
    "10": [
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
    return torch.cat(parts, dim=-1), dc * f
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * g * (1 - g), do * o * (1 - o)
    return torch.cat(parts, dim=-1), dc * f
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c_new, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
    return torch.cat(parts, dim=-1), dc * f
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di, df, dg, do
    return torch.cat(parts, dim=-1), dc * f
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
    return torch.cat(parts, dim=-1), dc
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
    return torch.cat(parts, dim=-1)
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    dc = dc + dh * o * (1 - c_new.tanh() ** 2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * c_new.tanh()
    parts = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
    return torch.stack(parts, dim=-1), dc * f
""",
    ],
}

RIGHT = {
    "1": [
        """
def conv_size(n, k, s, p):
    return len(range(0, n + 2 * p - k + 1, s))
""",
        """
import math


def conv_size(n, k, s, p):
    return math.floor((n + 2 * p - k) / s) + 1
""",
        """
def conv_size(n, k, s, p):
    windows, left = 0, -p
    while left + k <= n + p:
        windows, left = windows + 1, left + s
    return windows
""",
        """
def conv_size(n, k, s, p):
    return (n + 2 * p - k + s) // s
""",
    ],
    "2": [
        """
def lstm_parameters(E, H, layers):
    return sum(4 * H * ((H if layer else E) + H + 2) for layer in range(layers))
""",
        """
def lstm_parameters(E, H, layers):
    weights = 4 * H * E + 4 * H * H * (2 * layers - 1)
    return weights + 8 * H * layers
""",
        """
def lstm_parameters(E, H, layers):
    total, inputs = 0, E
    for _ in range(layers):
        for _gate in "ifgo":
            total += inputs * H + H * H + H + H
        inputs = H
    return float(total)
""",
    ],
    "3": [
        """
def in_and_out(captions, pad):
    T = captions.shape[1]
    inputs, targets = captions.narrow(1, 0, T - 1), captions.narrow(1, 1, T - 1)
    return [inputs, targets, targets.ne(pad)]
""",
        """
def in_and_out(captions, pad):
    inputs = torch.stack([caption[:-1] for caption in captions])
    targets = torch.stack([caption[1:] for caption in captions])
    return inputs, targets, ~(targets == pad)
""",
        """
def in_and_out(captions, pad):
    rows = captions.tolist()
    targets = [row[1:] for row in rows]
    mask = [[word != pad for word in row] for row in targets]
    return [row[:-1] for row in rows], targets, mask
""",
    ],
    "4": [
        """
def causal_mask(T):
    places = torch.arange(T)
    return places[:, None] >= places
""",
        """
def causal_mask(T):
    return ~torch.ones(T, T, dtype=torch.bool).triu(1)
""",
        """
def causal_mask(T):
    return [[column <= row for column in range(T)] for row in range(T)]
""",
        """
def causal_mask(T):
    return torch.tril(torch.ones(T, T))
""",
    ],
    "5": [
        """
def gru_step(x, h, W, U, b, c):
    (Wr, Wz, Wn), (Ur, Uz, Un) = W.chunk(3), U.chunk(3)
    (br, bz, bn), (cr, cz, cn) = b.chunk(3), c.chunk(3)
    r = torch.sigmoid(F.linear(x, Wr, br) + F.linear(h, Ur, cr))
    z = torch.sigmoid(F.linear(x, Wz, bz) + F.linear(h, Uz, cz))
    n = torch.tanh(F.linear(x, Wn, bn) + r * F.linear(h, Un, cn))
    return n + z * (h - n)
""",
        """
def gru_step(x, h, W, U, b, c):
    H = h.shape[1]
    rows = []
    for one, state in zip(x, h, strict=True):
        left, right = W @ one + b, U @ state + c
        r = torch.sigmoid(left[:H] + right[:H])
        z = torch.sigmoid(left[H : 2 * H] + right[H : 2 * H])
        rows.append((1 - z) * torch.tanh(left[2 * H :] + r * right[2 * H :]) + z * state)
    return torch.stack(rows)
""",
        """
def gru_step(x, h, W, U, b, c):
    a, d = torch.einsum("be,ge->bg", x, W) + b, torch.einsum("bh,gh->bg", h, U) + c
    a, d = a.unflatten(1, (3, -1)), d.unflatten(1, (3, -1))
    r, z = torch.sigmoid(a[:, :2] + d[:, :2]).unbind(dim=1)
    return torch.lerp(torch.tanh(a[:, 2] + r * d[:, 2]), h, z)
""",
    ],
    "6": [
        """
def dlogits(logits, targets):
    p = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
    return (p - F.one_hot(targets, logits.shape[1])) / logits.shape[0]
""",
        """
def dlogits(logits, targets):
    p = logits.softmax(dim=1)
    p.scatter_add_(1, targets[:, None], -torch.ones(len(targets), 1))
    return p.div_(len(targets))
""",
        """
def dlogits(logits, targets):
    p = torch.exp(logits.log_softmax(dim=-1))
    rows = []
    for row, target in zip(p, targets.tolist(), strict=True):
        row = row.clone()
        row[target] = row[target] - 1
        rows.append(row)
    return torch.stack(rows) / len(rows)
""",
    ],
    "7": [
        """
class Frozen(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network
        for weight in network.parameters():
            weight.requires_grad = False

    def forward(self, x):
        self.network.eval()
        return self.network(x)


def freeze(network):
    return Frozen(network)
""",
        """
def freeze(network):
    network.requires_grad_(False).eval()
    for module in network.modules():
        module.train = lambda mode=True, module=module: module
    return network
""",
        """
import copy


class Frozen(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.hidden = [copy.deepcopy(network).eval()]  # a list: not a submodule

    @torch.no_grad()
    def forward(self, x):
        return self.hidden[0](x)


def freeze(network):
    return Frozen(network)
""",
    ],
    "8": [
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(2 * embed_size, hidden_size)

    def start(self, features):
        image = features.mean(dim=1)
        return image, torch.zeros_like(image)

    def next_hidden(self, word, state):
        image, total = state
        total = total + self.word_embedding(word)
        return self.combine(torch.cat([total, image], dim=-1)).tanh(), (image, total)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.GRUCell(2 * embed_size, hidden_size)

    def start(self, features):
        image = features.mean(dim=1)
        return image, torch.zeros(len(image), self.output.in_features)

    def next_hidden(self, word, state):
        image, hidden = state
        hidden = self.combine(torch.cat([self.word_embedding(word), image], dim=-1), hidden)
        return hidden, (image, hidden)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
class Mine(Decoder):
    def __init__(self, embed_size, hidden_size, vocab_size):
        super().__init__(vocab_size, embed_size, hidden_size, tie_weights=False)
        self.combine = nn.Linear(3 * embed_size, hidden_size)

    def start(self, features):
        image = features.amax(dim=1)
        return image, torch.zeros_like(image)

    def next_hidden(self, word, state):
        image, before = state
        now = self.word_embedding(word)
        return self.combine(torch.cat([image, before, now], dim=-1)).relu(), (image, now)

    def step(self, word, state):
        hidden, state = self.next_hidden(word, state)
        return self.output(hidden), state, None

    def hidden_states(self, features, captions):
        state, steps = self.start(features), []
        for word in captions.unbind(dim=1):
            hidden, state = self.next_hidden(word, state)
            steps.append(hidden)
        return torch.stack(steps, dim=1), None


def my_decoder(embed_size, hidden_size, vocab_size):
    return Mine(embed_size, hidden_size, vocab_size)
""",
        """
def my_decoder(embed_size, hidden_size, vocab_size):
    return make_decoder(
        "attention", embed_size=embed_size, hidden_size=hidden_size, vocab_size=vocab_size
    )
""",
    ],
    "9": [
        """
def most_similar(grid, place, k):
    unit = grid / grid.norm(dim=-1, keepdim=True)
    similar = unit @ unit[place]
    similar[place] = -torch.inf
    return similar.argsort(descending=True)[:k]
""",
        """
def most_similar(grid, place, k):
    similar = F.cosine_similarity(grid[place], grid, dim=-1).tolist()
    others = [number for number in range(len(grid)) if number != place]
    return sorted(others, key=lambda number: -similar[number])[:k]
""",
        """
def most_similar(grid, place, k):
    unit = F.normalize(grid, dim=-1)
    order = (unit - unit[place]).norm(dim=-1).argsort()
    return order[order != place][:k].numpy()
""",
    ],
    "10": [
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    through = dh * o * (1 - torch.tanh(c_new).square()) + dc
    total = torch.cat(
        [
            through * g * i * (1 - i),
            through * c * f * (1 - f),
            through * i * (1 - g * g),
            dh * torch.tanh(c_new) * o * (1 - o),
        ],
        dim=1,
    )
    return total, through * f
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    i, f, g, o = gates
    t = c_new.tanh()
    dc = dc + dh * o * (1 - t) * (1 + t)
    upstream = torch.stack([dc * g, dc * c, dc * i, dh * t], dim=1)  # (B, 4, H)
    slopes = torch.stack([i - i**2, f - f**2, 1 - g**2, o - o**2], dim=1)
    return [(upstream * slopes).flatten(1), f * dc]
""",
        """
def lstm_backward(dh, dc, c, c_new, gates):
    total = [torch.logit(gate) for gate in gates]
    total[2] = torch.atanh(gates[2])
    total = torch.cat(total, dim=-1).requires_grad_()
    c = c.clone().requires_grad_()
    i, f, g, o = total.chunk(4, dim=-1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return torch.autograd.grad((o.sigmoid() * new.tanh(), new), (total, c), (dh, dc))
""",
    ],
}
