"""Common wrong answers to the exercises of notebook 3; its checks refuse each in a sentence."""

WRONG = {
    "1": """
def penalized(logprob, length, alpha):
    return logprob * ((5 + length) / 6) ** alpha
""",
    "2": """
def top_k(probability, k):
    best = probability.topk(k)
    return torch.zeros_like(probability).scatter(-1, best.indices, best.values)
""",
    "3": """
def caption_logprob(decoder, features, words):
    inputs = torch.tensor([[0, *words[:-1]]])
    logprobs = decoder(features, inputs)[0].log_softmax(-1)
    return logprobs[range(len(words)), words].sum()
""",
    "4": """
def repeats(words, n):
    return any(words[i : i + n] == words[i + n : i + 2 * n] for i in range(len(words) - n))
""",
    "5": """
def interval(values):
    return np.percentile(values, [2.5, 97.5])
""",
    "6": """
def consensus(captions):
    return max(captions, key=len)
""",
    "7": """
def covered(picture, box):
    pixels, (x, y, width, height) = np.array(picture), box
    pixels[x : x + width, y : y + height] = pixels.mean(axis=(0, 1))
    return Image.fromarray(pixels)
""",
    "8": """
class Vote:
    def __init__(self, first, second):
        self.first, self.second = first, second

    def start(self, features):
        first, second = self.first.start(features[0]), self.second.start(features[1])
        self.parts = len(first)
        return (*first, *second)

    def step(self, word, state):
        a, first, _ = self.first.step(word, state[: self.parts])
        b, second, attention = self.second.step(word, state[self.parts :])
        return (a + b) / 2, (*first, *second), attention
""",
}
